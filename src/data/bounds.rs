//! What a file may become, by the number of its own bytes: where values repeat or are packed, a few bytes stand for many.

/// Bytes that any file may unpack to: columns without news are packed a thousand times smaller, and small ones cost little.
const FREE: u64 = 64 << 20;
/// Further bytes for each byte of a file. Encoded images and noise hardly become fewer by packing, and sets of black pixels about 20 times.
const TIMES: u64 = 100;
/// Bytes that count for a file beside its own, so that small ones may hold what they like.
const SPARE: u64 = 64 << 10;

/// Most bytes that a file of so many unpacks to.
pub(super) fn unpacked(bytes: u64) -> u64 {
    bytes.saturating_mul(TIMES).saturating_add(FREE)
}

/// Most images of a file of so many bytes that says so many further things of each.
///
/// An image counts for 8 bytes, of which any has more, encoded or not: what is kept of it beside its pixels takes some 300. A value counts for two
/// bits: it may take less where values repeat, and takes a pointer, 16 bytes, once it is read. So nothing becomes more than some 60 times its bytes.
pub(super) fn most_images(bytes: u64, values: usize) -> u64 {
    bytes.saturating_add(SPARE).saturating_mul(4) / (32 + values as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_may_become_grows_with_it() {
        assert_eq!((unpacked(0), unpacked(1 << 20), unpacked(u64::MAX)), (64 << 20, 164 << 20, u64::MAX));
        // 60,000 drawings of 28 x 28 pixels, gzipped, have 9.9 MB; faces with forty attributes some 7 kB each.
        assert!(most_images(9_912_422, 0) > 60_000 * 20 && most_images(202_599 * 7000, 40) > 202_599 * 300);
        assert_eq!((most_images(0, 0), most_images(8 << 20, 1000)), (8192, 32_768));
        assert!(most_images(u64::MAX, 0) > 1 << 50);
    }
}
