//! Points in time as text: UTC, RFC 3339, whole seconds.

use time::{Date, Month, OffsetDateTime};

/// Seconds since 1970 as `2026-01-31T12:00:00Z`; years outside 0 to 9999 become 1970.
pub fn utc(unix: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let time = if (0..=9999).contains(&time.year()) { time } else { OffsetDateTime::UNIX_EPOCH };
    let (hour, minute, second) = time.to_hms();
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", time.year(), u8::from(time.month()), time.day())
}

/// The way back, for exactly what [`utc`] writes.
pub(crate) fn parse_utc(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<u16> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |range: std::ops::Range<usize>| number(range).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(5..7)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0..4)?), month, small(8..10)?).ok()?;
    let unix = date.with_hms(small(11..13)?, small(14..16)?, small(17..19)?).ok()?.assume_utc().unix_timestamp();
    // Writing it again catches every separator that is not one.
    (utc(unix) == text).then_some(unix)
}

/// When what began at `started` and took some seconds ended, as [`utc`] writes it.
pub(super) fn ended(started: &str, seconds: f64) -> String {
    // What is no number, or one that no run takes, becomes none.
    let took = if seconds.is_finite() && (0.0..1e9).contains(&seconds) { seconds.round() as i64 } else { 0 };
    utc(parse_utc(started).unwrap_or(0) + took)
}

#[cfg(test)]
mod tests {
    use super::{parse_utc, utc};

    #[test]
    fn known_moments_go_there_and_back() {
        // From `date -u -d @N +%FT%TZ`.
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(unix), text);
            assert_eq!(parse_utc(text), Some(unix));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+01:00", "2026-01-01T00:00:6é"] {
            assert!(parse_utc(text).is_none(), "{text}");
        }
        assert_eq!(utc(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
