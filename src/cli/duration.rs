//! Lengths of time as people type them: `90s`, `15m`, `2h30m`.

use std::time::Duration;

/// Longest time that is accepted: a year.
const MOST: u64 = 366 * 24 * 3600;

/// Reads `90s`, `15m`, `2h30m`, `1h 5m 10s`, `30d`: whole numbers with d, h, m or s, largest first.
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut seconds = 0_u64;
    let mut last = u64::MAX;
    if rest.is_empty() {
        return Err("a length of time such as 90s, 15m or 2h30m is needed".to_owned());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        let mut tail = tail.chars();
        let unit = match tail.next() {
            Some('d') => 24 * 3600,
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            None => return Err(format!("`{digits}` has no unit: write {digits}s, {digits}m or {digits}h")),
            Some(other) => return Err(format!("`{other}` is not expected here: write whole numbers with d, h, m or s, such as 2h30m")),
        };
        if digits.is_empty() {
            return Err("a number is missing before the unit".to_owned());
        }
        if unit >= last {
            return Err("days come before hours, hours before minutes, minutes before seconds, each at most once".to_owned());
        }
        last = unit;
        let part = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).and_then(|n| n.checked_add(seconds));
        seconds = part.filter(|&n| n <= MOST).ok_or("more than a year")?;
        rest = tail.as_str().trim_start();
    }
    if seconds == 0 { Err("no time at all".to_owned()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A length of time for people: `8 s`, `3 min 40 s`, `7 h 40 min`.
pub fn show(seconds: f64) -> String {
    let whole = seconds.round().clamp(0.0, 1e12) as u64;
    match whole {
        0 if seconds > 0.0 => "under 1 s".to_owned(),
        0..60 => format!("{whole} s"),
        60..3600 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn what_people_type() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("2h30m", 9000), (" 1h 5m 10s ", 3910), ("366h", 366 * 3600), ("30d", 30 * 24 * 3600)]
        {
            assert_eq!(parse(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("", "such as 90s"),
            ("15", "15m"),
            ("1.5h", "whole numbers"),
            ("m", "number is missing"),
            ("5m2h", "days come before hours"),
            ("5m5m", "at most once"),
            ("-5m", "`-`"),
            ("0s", "no time"),
            ("99999999999999999999h", "more than a year"),
            ("9000000h", "more than a year"),
            ("5é", "`é`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn shown_for_people() {
        let shown: Vec<String> = [0.0, 0.2, 8.0, 60.0, 220.4, 27_600.0].map(show).into();
        assert_eq!(shown, ["0 s", "under 1 s", "8 s", "1 min", "3 min 40 s", "7 h 40 min"]);
        assert_eq!(show(f64::NAN), "0 s");
    }
}
