use std::io::Write as _;

use super::*;
use crate::diag::Explain as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// What is said of so many images of so many pixels, all of them black; `packed` says whether the files are.
fn said(count: u32, side: u32, packed: bool) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, header: &[u8], sizes: &[u32], values: usize| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
        let bytes = [header, &sizes, &vec![0; values]].concat();
        let (name, bytes) = if packed { (format!("{name}.gz"), gzip(&bytes)) } else { (name.to_owned(), bytes) };
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    write("train-images-idx3-ubyte", &[0, 0, 8, 3], &[count, side, side], (count * side * side) as usize);
    write("train-labels-idx1-ubyte", &[0, 0, 8, 1], &[count], count as usize);
    let told = |error: DataError| format!("{error}; {}", error.hint().unwrap()).replace(&format!("{}/", folder.path().display()), "");
    read(folder.path(), Split::Train).map(|rows| rows.list.len()).map_err(told)
}

#[test]
fn a_small_file_does_not_become_a_large_one() {
    assert_eq!((said(5000, 28, true), said(100_000, 3, false)), (Ok(5000), Ok(100_000)));
    // 82 MB of zeros.
    let packed = said(20_000, 64, true).unwrap_err();
    assert!(packed.starts_with("train-images-idx3-ubyte.gz: it holds more than 7"), "{packed}");
    assert!(packed.ends_with(" bytes, the most that are read of so small a file; where it is packed, unpack it: gunzip FILE"), "{packed}");
    // Two megabytes of images of no pixel.
    let none = said(2_000_000, 0, false).unwrap_err();
    assert_eq!(
        none,
        "train-images-idx3-ubyte: it has 2000000 images of 0x0 pixels, and so small a file holds 258195 at most; images of fewer than 8 pixels are \
         not read; where they are larger, unpack the file: gunzip FILE"
    );
    assert!(said(200_000, 10, true).unwrap_err().contains("it has 200000 images of 10x10 pixels, and so small a file holds"));
}
