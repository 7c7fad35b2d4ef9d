//! Sizes as people type them: `500MB`, `1.5GiB`, `0`.

/// Reads a number with a unit: B, kB, MB, GB of thousands, KiB, MiB, GiB of 1024. Only 0 needs none: 500 bytes were never meant.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit.trim().to_lowercase().as_str() {
        "" if digits.parse::<f64>().is_ok_and(|number| number != 0.0) => {
            return Err(format!("{digits} of what? Write {digits}MB or {digits}GiB"));
        }
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        other => return Err(format!("`{other}` is no unit of size: write 500MB or 1GiB")),
    };
    let number: f64 = digits.parse().map_err(|_| "a size such as 500MB or 1GiB is needed".to_owned())?;
    Ok((number * factor).round() as u64)
}

/// The same for memory that is to be used: not none.
pub fn memory(text: &str) -> Result<u64, String> {
    match parse(text)? {
        0 => Err("no memory at all".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A size for people: `812 B`, `4.1 KiB`, `120 MiB`.
pub fn show(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" || size >= 100.0 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::{memory, parse, show};

    #[test]
    fn what_people_type() {
        for (text, bytes) in [("0", 0), ("500MB", 500_000_000), ("1GiB", 1 << 30), ("1.5 g", 3 << 29), ("12 kB", 12_000), ("7b", 7)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert!(memory("0GiB").is_err() && memory("4GiB") == Ok(4 << 30));
        for bad in ["", "MB", "500", "-1", "1 parsec", "1.2.3MB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!([0, 812, 4200, 120 << 20, 3 << 29].map(show), ["0 B", "812 B", "4.1 KiB", "120 MiB", "1.5 GiB"]);
    }
}
