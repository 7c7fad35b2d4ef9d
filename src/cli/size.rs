//! Sizes of memory as people type them: `512MiB`, `4GiB`, `4GB`, or bytes.

/// Reads a whole number with a unit: KiB, MiB, GiB, TiB (powers of 1024), KB, MB, GB, TB (powers of 1000), B or none. Case does not matter.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("a whole number with a unit is needed, such as 512MiB or 4GiB".to_owned());
    }
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        other => return Err(format!("`{other}` is no unit: write KiB, MiB, GiB, KB, MB, GB or plain bytes, such as 512MiB")),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match bytes {
        None => Err("more memory than there is anywhere".to_owned()),
        Some(0) => Err("no memory at all".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_people_type() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("4GiB", 4 << 30),
            ("4GB", 4_000_000_000),
            (" 2 gib ", 2 << 30),
            ("1048576", 1 << 20),
            ("7b", 7),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("", "such as 512MiB"),
            ("GiB", "whole number"),
            ("-1GiB", "whole number"),
            ("1.5GiB", "`.5gib` is no unit"),
            ("4G", "`g` is no unit"),
            ("4 gigs", "`gigs`"),
            ("4é", "`é`"),
            ("0", "no memory"),
            ("0GiB", "no memory"),
            ("99999999999999999999", "more memory than"),
            ("99999999TiB", "more memory than"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
