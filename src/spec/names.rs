//! Names in messages: lists of them, and the one that was probably meant.

/// "`a`, `b` or `c`".
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [rest @ .., one] => format!("{} or `{one}`", rest.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// "`a`, `b` and `c`".
pub(crate) fn all(names: &[&str]) -> String {
    match names {
        [rest @ .., one] if !rest.is_empty() => {
            format!("{} and `{one}`", rest.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
        _ => list(names),
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    // Edit distance is quadratic, and no name is long.
    if given.len() > 64 {
        return None;
    }
    let given = given.to_lowercase().replace(['-', ' '], "_");
    names
        .iter()
        .map(|name| (strsim::osa_distance(&given, &name.replace('-', "_").to_lowercase()), *name))
        .filter(|(distance, name)| *distance * 3 <= name.len().max(given.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
