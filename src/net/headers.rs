//! What the headers of an answer say: how long to wait, and where the next page is. Nothing in them is believed beyond its use.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, LINK, RETRY_AFTER};

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long a server asks to wait: `RateLimit: "api";r=0;t=55` until the window is over, else `Retry-After` in seconds.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let limit = text(headers, "ratelimit").and_then(|text| text.split(',').filter_map(window).max());
    let seconds = limit.or_else(|| text(headers, RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok()))?;
    Some(Duration::from_secs(seconds))
}

/// Seconds until the window of a limit that is used up is over.
fn window(limit: &str) -> Option<u64> {
    let part = |name: &str| {
        let parts = limit.split(';').map(str::trim).filter_map(|part| part.split_once('='));
        parts.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse::<u64>().ok())
    };
    (part("r")? == 0).then(|| part("t")).flatten().map(|seconds| seconds.saturating_add(1))
}

/// The address behind `rel="next"` in `Link`.
pub(super) fn next(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(of_link)
}

fn of_link(text: &str) -> Option<String> {
    text.split('<').skip(1).find_map(|part| {
        let (address, rest) = part.split_once('>')?;
        let next = rest.split([';', ',']).map(str::trim).any(|parameter| matches!(parameter, "rel=next" | "rel=\"next\""));
        next.then(|| address.to_owned())
    })
}

/// The tag of a file's bytes. A weak one does not say that they are the same.
pub(super) fn tag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG.as_str()).filter(|tag| !tag.starts_with("W/") && tag.len() <= 256).map(str::to_owned)
}

/// From which byte on a part of a file is.
pub(super) fn begins(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn how_long_to_wait() {
        let seconds = |pairs: &[(&'static str, &str)]| wait(&of(pairs)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=55")]), Some(56));
        assert_eq!(seconds(&[("ratelimit", "\"pages\";r=9;t=200, \"api\";r=0;t=55")]), Some(56));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=7;t=55"), ("retry-after", "3")]), Some(3));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=soon"), ("retry-after", "9")]), Some(9));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=18446744073709551615")]), Some(u64::MAX));
        assert_eq!(seconds(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]), None);
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn where_the_next_page_is() {
        let next = |text: &str| next(&of(&[("link", text)]));
        assert_eq!(next("<https://hub/api/models?cursor=a>; rel=\"next\""), Some("https://hub/api/models?cursor=a".into()));
        assert_eq!(next("<https://a/1>; rel=\"prev\", </2?x=1>; rel=next"), Some("/2?x=1".into()));
        for none in ["", "<", "<a", "<a>", "a; rel=next", "<a>; rel=nextest"] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn which_part_it_is() {
        assert_eq!(begins(&of(&[("content-range", "bytes 5-9/10")])), Some(5));
        assert_eq!(["bytes */10", "5-9/10", "bytes -9", ""].map(|text| begins(&of(&[("content-range", text)]))), [None; 4]);
        assert_eq!((tag(&of(&[("etag", "\"a\"")])), tag(&of(&[("etag", "W/\"a\"")]))), (Some("\"a\"".into()), None));
    }
}
