//! The client against servers that do what real ones do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;
use crate::store::Digest;

/// What a server does with one connection.
enum Does {
    /// Answers, after a while.
    Says(Duration, String),
    /// Hangs up.
    HangsUp,
}

fn says(text: impl Into<String>) -> Does {
    Does::Says(Duration::ZERO, text.into())
}

fn ok(body: &str) -> Does {
    says(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

fn status(line: &str) -> Does {
    says(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// A server that does one thing after the other, and what it was asked.
fn server_of(does: Vec<Does>) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = Url::parse(&format!("http://{}/file", listener.local_addr().expect("an address"))).expect("an address");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    std::thread::spawn(move || {
        for one in does {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            told.lock().expect("no panic").push(head.to_lowercase());
            if let Does::Says(wait, text) = one {
                // Who went away does not read it, and others do not wait for that.
                let mut answer = move || drop(stream.write_all(text.as_bytes()));
                if wait.is_zero() {
                    answer();
                } else {
                    std::thread::spawn(move || {
                        std::thread::sleep(wait);
                        answer();
                    });
                }
            }
        }
    });
    (url, seen)
}

#[test]
fn the_beginning_of_a_file_is_all_that_is_taken() {
    let part = |place: &str, body: &str| {
        says(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {place}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    };
    let (url, seen) = server_of(vec![part("0-3/9", "abcd"), ok("abcdefghi"), part("0-1/2", "ab"), part("4-7/9", "efgh")]);
    let net = net(None);
    for wanted in ["abcd", "abcd", "ab"] {
        assert_eq!(net.beginning(&url, 4).expect("bytes"), wanted.as_bytes());
    }
    assert_eq!(kind(net.beginning(&url, 4)), Kind::Unread);
    assert!(seen.lock().expect("no panic").iter().all(|head| head.contains("range: bytes=0-3\r\n")));
}

#[test]
fn bytes_wait_for_each_other_where_only_so_many_may_come() {
    let asked = AtomicU64::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 20;
    let (url, _) = server_of(vec![ok(&"x".repeat(1000)), ok(&"x".repeat(1000))]);
    let of = |bandwidth| {
        asked.store(0, Ordering::Relaxed);
        let mut net = Net::with(None, &stop, QUICK).expect("a client").limited(bandwidth);
        net.client = builder(QUICK).no_proxy().tls_certs_only([]).build().expect("a client");
        net.get(&url, 1000).map(|answer| answer.bytes.len())
    };
    assert_eq!(of(None).expect("an answer"), 1000);
    // A thousand seconds would pass; the user ends it.
    assert_eq!(kind(of(Some(1))), Kind::Stopped);
}

const QUICK: Patience =
    Patience { connect: Duration::from_secs(5), read: Duration::from_millis(400), first: Duration::from_millis(1), tries: 4 };

fn net(home: Option<(&Url, &str)>) -> Net<'static> {
    let mut net = Net::with(home, &|| false, QUICK).expect("a client");
    // What the machine that tests is set to must not decide.
    net.client = builder(QUICK).no_proxy().tls_certs_only([]).build().expect("a client");
    net
}

fn kind<T>(told: Result<T, NetError>) -> Kind {
    told.err().expect("an error").kind
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let busy = says(
        "HTTP/1.1 429 Too Many Requests\r\nRateLimit: \"api\";r=3;t=300\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let late = Does::Says(Duration::from_secs(2), String::new());
    let (url, seen) = server_of(vec![busy, status("503 Later"), late, ok("here")]);
    assert_eq!(net(None).get(&url, 10).expect("an answer").bytes, b"here");
    assert_eq!(seen.lock().unwrap().len(), 4);
    for (line, wanted) in
        [("404 No", Kind::NotFound), ("401 No", Kind::Auth), ("403 No", Kind::Auth), ("400 No", Kind::Unread), ("451 No", Kind::NotFound)]
    {
        let (url, seen) = server_of(vec![status(line), ok("here")]);
        assert_eq!(kind(net(None).get(&url, 10)), wanted, "{line}");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
    let gated = says("HTTP/1.1 403 No\r\nX-Error-Code: GatedRepo\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(kind(net(None).get(&server_of(vec![gated]).0, 10)), Kind::Gated);
    assert_eq!(kind(net(None).get(&server_of(vec![ok("eleven bytes")]).0, 11)), Kind::TooLarge);
}

#[test]
fn a_server_that_is_down_is_left_alone() {
    let (url, seen) = server_of((0..20).map(|_| Does::HangsUp).collect());
    let net = net(None);
    for _ in 0..MOST_DOWN {
        assert_eq!(kind(net.get(&url, 10)), Kind::Down);
    }
    assert_eq!(kind(net.get(&url, 10)), Kind::Absent);
    assert_eq!(seen.lock().unwrap().len(), 12);
    // Nobody listens there; another server is another matter.
    let (other, _) = server_of(vec![ok("here")]);
    assert!(net.get(&other, 10).is_ok());
}

#[test]
fn the_user_ends_a_wait() {
    let busy = says("HTTP/1.1 429 No\r\nRetry-After: 500\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (url, seen) = server_of(vec![busy]);
    let stop = || !seen.lock().unwrap().is_empty();
    let net = Net { stop: &stop, ..net(None) };
    assert_eq!(kind(net.get(&url, 10)), Kind::Stopped);
}

#[test]
fn the_token_stays_at_home() {
    let (away, away_seen) = server_of(vec![ok("far")]);
    let (home, seen) = server_of(vec![
        ok("near"),
        says(format!("HTTP/1.1 302 Found\r\nLocation: {away}?signature=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
    ]);
    let net = net(Some((&home, "hf_secret")));
    assert_eq!(net.get(&home, 10).unwrap().bytes, b"near");
    assert_eq!(net.get(&home, 10).unwrap().bytes, b"far");
    assert!(seen.lock().unwrap().iter().all(|head| head.contains("authorization: bearer hf_secret")));
    let away_seen = away_seen.lock().unwrap().clone();
    assert!(away_seen.iter().all(|head| !head.contains("authorization")) && away_seen.len() == 1, "{away_seen:?}");
    // Whoever leads away and back gets none either.
    let (home, seen) = server_of(vec![ok("again")]);
    let (away, _) =
        server_of(vec![says(format!("HTTP/1.1 302 Found\r\nLocation: {home}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))]);
    assert!(self::net(Some((&home, "hf_secret"))).get(&away, 10).is_ok());
    assert!(!seen.lock().unwrap()[0].contains("authorization"));
    let error = Net::new(Some((&home, "hf_a\nb")), &|| false).err().expect("refused").to_string();
    assert!(!error.contains("hf_a"), "{error}");
}

#[test]
fn what_only_this_machine_can_reach_is_known() {
    for (address, is) in [
        ("http://169.254.169.254/latest/meta-data/", true),
        ("http://127.0.0.1:80/", true),
        ("http://[::1]/", true),
        ("http://[fe80::1]/", true),
        ("http://localhost:9000/", true),
        ("http://0.0.0.0/", true),
        ("https://hub.example/", false),
        ("https://10.1.2.3/", false),
    ] {
        assert_eq!(is_of_this_machine(&Url::parse(address).expect("an address")), is, "{address}");
    }
}

#[test]
fn redirects_end() {
    let around = |n| {
        (0..n).map(|_| says("HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).collect::<Vec<_>>()
    };
    let (url, seen) = server_of(around(20));
    assert_eq!(kind(net(None).get(&url, 10)), Kind::Redirect);
    assert_eq!(seen.lock().unwrap().len(), MOST_REDIRECTS + 1);
    for to in ["file:///etc/passwd", "ftp://x/y", "", "http://"] {
        let (url, _) = server_of(vec![
            says(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
            status("404 No"),
        ]);
        assert!(net(None).get(&url, 10).is_err(), "{to}");
    }
}

#[test]
fn the_next_page_is_on_the_same_server() {
    let link = "HTTP/1.1 200 OK\r\nLink: <https://hub.invalid/api/models?cursor=b%3D>; rel=\"next\"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    let (url, _) = server_of(vec![says(link)]);
    let next = net(None).get(&url, 10).unwrap().next.expect("a page");
    assert_eq!((next.origin(), next.path(), next.query()), (url.origin(), "/api/models", Some("cursor=b%3D")));
}

fn part(headers: &str, body: &str) -> Does {
    says(format!("HTTP/1.1 206 Partial\r\n{headers}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

fn cut(tag: &str, body: &str) -> Does {
    says(format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{body}"))
}

fn expected(bytes: Option<u64>, of: Option<&str>) -> Expected {
    Expected { bytes, digest: of.map(|text| Digest::of(text.as_bytes())), most: 100, tag: None }
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("deep/file");
    let (url, seen) = server_of(vec![
        cut("\"a\"", "01234"),
        part("ETag: \"a\"\r\nContent-Range: bytes 5-9/10", "56789"),
        // The file has changed: all of it comes.
        cut("\"a\"", "01234"),
        ok("abcdefghij"),
        // A weak tag, and no digest: from the start.
        cut("W/\"a\"", "01234"),
        ok("0123456789"),
        // Another part than was asked for.
        cut("\"a\"", "01234"),
        part("Content-Range: bytes 4-9/10", "456789"),
        ok("0123456789"),
    ]);
    let net = net(None);
    let mut told = 0;
    for (wanted, digest) in [("0123456789", true), ("abcdefghij", true), ("0123456789", false), ("0123456789", false)] {
        let got = net.download(&url, &to, &expected(Some(10), digest.then_some(wanted)), &mut |bytes| told = bytes).expect(wanted);
        assert_eq!((got, std::fs::read(&to).unwrap().as_slice()), (Digest::of(wanted.as_bytes()), wanted.as_bytes()));
        std::fs::remove_file(&to).unwrap();
    }
    let seen = seen.lock().unwrap();
    assert!(seen[1].contains("range: bytes=5-") && seen[1].contains("if-range: \"a\""), "{}", seen[1]);
    assert!(!seen[5].contains("range:") && told == 10, "{}", seen[5]);
}

#[test]
fn a_later_run_goes_on_where_the_digest_tells() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    let left = || std::fs::write(folder.path().join("file.part"), "01234").unwrap();
    let (url, seen) = server_of(vec![
        part("Content-Range: bytes 5-9/10", "56789"),
        ok("0123456789"),
        // What was left was of another file.
        part("Content-Range: bytes 5-9/10", "fghij"),
        ok("abcdefghij"),
    ]);
    let net = net(None);
    for (wanted, digest) in [("0123456789", true), ("0123456789", false), ("abcdefghij", true)] {
        left();
        net.download(&url, &to, &expected(Some(10), digest.then_some(wanted)), &mut |_| {}).expect(wanted);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), wanted);
    }
    let asked: Vec<bool> = seen.lock().unwrap().iter().map(|head| head.contains("range: bytes=5-")).collect();
    assert_eq!(asked, [true, false, true, false]);
}

#[test]
fn other_bytes_than_were_named_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    let short = || says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n01234");
    for (does, wanted, told) in [
        (vec![ok("0123456789"), ok("0123456789")], expected(Some(10), Some("other")), Kind::Digest),
        (vec![ok("0123456789"), ok("0123456789")], expected(Some(9), None), Kind::Digest),
        (vec![ok(&"x".repeat(101))], expected(None, None), Kind::TooLarge),
        (vec![ok(&"x".repeat(101))], expected(Some(101), None), Kind::TooLarge),
        ((0..10).map(|_| short()).collect(), expected(Some(10), None), Kind::Digest),
        ((0..10).map(|_| Does::HangsUp).collect(), expected(Some(10), None), Kind::Down),
    ] {
        let error = net(None).download(&server_of(does).0, &to, &wanted, &mut |_| {}).expect_err("refused");
        assert_eq!(error.kind, told, "{error}");
        assert!(!to.exists(), "{error}");
    }
    // What is wrong once may be right the next time.
    for lie in ["01234", "0123456789xyz", "012345678x"] {
        let (url, _) = server_of(vec![ok(lie), ok("0123456789")]);
        net(None).download(&url, &to, &expected(Some(10), Some("0123456789")), &mut |_| {}).expect(lie);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "0123456789");
    }
    // A folder that takes nothing.
    std::fs::write(folder.path().join("plain"), "x").unwrap();
    let error = net(None).download(&server_of(vec![ok("x")]).0, &folder.path().join("plain/file"), &expected(None, None), &mut |_| {});
    assert_eq!(kind(error), Kind::Disk);
}
