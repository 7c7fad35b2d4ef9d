//! Values of parquet columns as text: what a column may hold to be a label or an attribute, and how that is written.

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::record::Field;
use ::parquet::schema::types::Type;

const DAY: i64 = 86_400;

/// What a column cannot be an attribute for, as the rest of a sentence about it; nothing where it can.
pub(super) fn unusable(column: &Type) -> Option<&'static str> {
    if column.is_group() {
        let kind = column.get_basic_info();
        return Some(match (kind.converted_type(), kind.logical_type_ref()) {
            (ConvertedType::LIST, _) | (_, Some(LogicalType::List)) => LIST,
            (ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, _) | (_, Some(LogicalType::Map)) => {
                "holds maps; an attribute is one value for each image"
            }
            _ if repeated(column) => LIST,
            _ => "holds structs; an attribute is one value for each image",
        });
    }
    repeated(column).then_some(LIST)
}

pub(super) const LIST: &str = "holds lists; an attribute is one value for each image";

/// Whether a row has any number of it.
pub(super) fn repeated(column: &Type) -> bool {
    let info = column.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// Whether a column of whole numbers counts nanoseconds since 1970: the reader hands these over as numbers.
pub(super) fn nanoseconds(column: &Type) -> bool {
    column.is_primitive()
        && column.get_physical_type() == Physical::INT64
        && matches!(column.get_basic_info().logical_type_ref(), Some(LogicalType::Timestamp(stamp)) if matches!(stamp.unit, TimeUnit::NANOS))
}

/// What one cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Nothing: null, or a fraction that is no number.
    Missing,
    /// A whole number.
    Whole(i64),
    /// Anything else that can be written.
    Text(String),
    /// Bytes that are no text, and what no column of single values holds.
    Other,
}

impl Cell {
    /// Reads a value; `nanoseconds` says that whole numbers are points in time.
    pub(super) fn of(field: &Field, nanoseconds: bool) -> Self {
        match field {
            Field::Null => Self::Missing,
            Field::Bool(v) => Self::Text(v.to_string()),
            Field::Byte(v) => Self::Whole(i64::from(*v)),
            Field::Short(v) => Self::Whole(i64::from(*v)),
            Field::Int(v) => Self::Whole(i64::from(*v)),
            Field::Long(v) if nanoseconds => Self::Text(moment(v.div_euclid(1_000_000_000), v.rem_euclid(1_000_000_000))),
            Field::Long(v) => Self::Whole(*v),
            Field::UByte(v) => Self::Whole(i64::from(*v)),
            Field::UShort(v) => Self::Whole(i64::from(*v)),
            Field::UInt(v) => Self::Whole(i64::from(*v)),
            Field::ULong(v) => i64::try_from(*v).map_or_else(|_| Self::Text(v.to_string()), Self::Whole),
            Field::Float16(v) => Self::fraction(f64::from(*v), || v.to_string()),
            Field::Float(v) => Self::fraction(f64::from(*v), || v.to_string()),
            Field::Double(v) => Self::fraction(*v, || v.to_string()),
            // Without a scale a decimal is written with a point at its end.
            Field::Decimal(_) => Self::Text(field.to_string().trim_end_matches('.').to_owned()),
            Field::Date(days) => Self::Text(date(i64::from(*days))),
            Field::TimeMillis(v) => Self::Text(clock(i64::from(v.div_euclid(1000)), i64::from(v.rem_euclid(1000)) * 1_000_000)),
            Field::TimeMicros(v) => Self::Text(clock(v.div_euclid(1_000_000), v.rem_euclid(1_000_000) * 1000)),
            Field::TimestampMillis(v) => Self::Text(moment(v.div_euclid(1000), v.rem_euclid(1000) * 1_000_000)),
            Field::TimestampMicros(v) => Self::Text(moment(v.div_euclid(1_000_000), v.rem_euclid(1_000_000) * 1000)),
            Field::Str(v) => Self::Text(v.clone()),
            Field::Bytes(v) => std::str::from_utf8(v.data()).map_or(Self::Other, |text| Self::Text(text.to_owned())),
            Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => Self::Other,
        }
    }

    /// A fraction without a fractional part is a whole number: tables with gaps keep whole numbers so.
    pub(super) fn fraction(value: f64, shortest: impl Fn() -> String) -> Self {
        // 2^53: beyond it not every whole number is one.
        match value {
            _ if value.is_nan() => Self::Missing,
            _ if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => Self::Whole(value as i64),
            _ => Self::Text(shortest()),
        }
    }
}

/// `YYYY-MM-DD`, of days since 1970 (Howard Hinnant's `civil_from_days`).
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:MM:SS`, and what part of a second there is.
fn clock(seconds: i64, nanoseconds: i64) -> String {
    let [hour, minute, second] = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    let part = format!(".{nanoseconds:09}");
    format!("{hour:02}:{minute:02}:{second:02}{}", part.trim_end_matches('0').trim_end_matches('.'))
}

/// Date and time, as pandas writes them.
fn moment(seconds: i64, nanoseconds: i64) -> String {
    format!("{} {}", date(seconds.div_euclid(DAY)), clock(seconds.rem_euclid(DAY), nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By Python's datetime.
        let known = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_000, "2024-10-04"),
            (-25_509, "1900-02-28"),
        ];
        for (days, text) in known {
            assert_eq!(date(days), text);
        }
        let at = |v| Cell::of(&Field::TimestampMicros(v), false);
        assert_eq!(at(1_577_934_245_120_000), Cell::Text("2020-01-02 03:04:05.12".into()));
        assert_eq!(at(-1), Cell::Text("1969-12-31 23:59:59.999999".into()));
        assert_eq!(Cell::of(&Field::Long(1_000_000_001), true), Cell::Text("1970-01-01 00:00:01.000000001".into()));
        // No value is too odd to be written.
        for v in [i64::MIN, i64::MAX] {
            assert!(matches!(at(v), Cell::Text(_)) && matches!(Cell::of(&Field::Date(v as i32), false), Cell::Text(_)));
        }
    }
}
