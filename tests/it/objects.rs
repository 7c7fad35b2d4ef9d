//! Stand-ins of the tests' own on loopback: an object store that speaks as S3 does, and a server that says what a test wants.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A request as it came, with its headers in small letters.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// An answer: status, headers, body, and how long the body is said to be.
pub type Said = (String, Vec<String>, Vec<u8>, usize);

pub fn said(status: &str, body: &[u8]) -> Said {
    (status.to_owned(), Vec::new(), body.to_vec(), body.len())
}

/// A server, and what it was asked.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(says: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (says, told) = (Arc::new(says), Arc::clone(&seen));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (says, told) = (Arc::clone(&says), Arc::clone(&told));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
                    let first = lines.next().unwrap_or_default();
                    let mut asked = Asked { path: first.split(' ').nth(1).unwrap_or_default().to_owned(), ..Asked::default() };
                    for line in lines.take_while(|line| !line.is_empty()) {
                        let Some((name, value)) = line.split_once(':') else { continue };
                        asked.headers.insert(name.to_lowercase(), value.trim().to_owned());
                    }
                    told.lock().expect("no panic").push(asked.clone());
                    let (status, headers, body, length) = says(&asked);
                    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
                    for header in headers {
                        let _ = write!(head, "{header}\r\n");
                    }
                    // What a client that went away does not read is no failure.
                    drop(stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat()));
                });
            }
        });
        Self { address, seen }
    }

    /// What it was asked since this was asked last.
    pub fn seen(&self) -> Vec<Asked> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

/// What a bucket does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Does {
    #[default]
    Nothing,
    /// The first answer with each object ends in the middle.
    Cuts,
    /// And then the object is another one.
    Changes,
    /// It knows no credentials.
    Refuses,
    /// The pages of its list lead in a circle.
    Circles,
}

/// The bytes of an object, and a number that tells its states apart.
type Object = (Vec<u8>, u32);

/// A bucket: objects by their keys.
#[derive(Clone, Default)]
pub struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
    does: Arc<Mutex<Does>>,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Bucket {
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let mut objects = self.objects.lock().expect("no panic");
        let state = objects.get(key).map_or(0, |(_, state)| state + 1);
        objects.insert(key.to_owned(), (bytes.to_vec(), state));
    }

    pub fn make(&self, does: Does) {
        *self.does.lock().expect("no panic") = does;
        self.counts.lock().expect("no panic").clear();
    }

    /// The bucket `models` on a server. Pages have two keys.
    pub fn serve(&self) -> Server {
        let bucket = self.clone();
        Server::start(move |asked| bucket.says(asked))
    }

    fn says(&self, asked: &Asked) -> Said {
        let does = *self.does.lock().expect("no panic");
        let (route, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let Some(key) = route.strip_prefix("/models") else { return said("404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>") };
        if does == Does::Refuses {
            return said("403 Forbidden", b"<Error><Code>InvalidAccessKeyId</Code></Error>");
        }
        let key = decoded(key.trim_start_matches('/'));
        if key.is_empty() && does == Does::Circles {
            let next = if query.contains("continuation-token=a") { "b" } else { "a" };
            let page = format!("<ListBucketResult><NextContinuationToken>{next}</NextContinuationToken></ListBucketResult>");
            return said("200 OK", page.as_bytes());
        }
        if key.is_empty() {
            return said("200 OK", self.page(query).as_bytes());
        }
        let count = {
            let mut counts = self.counts.lock().expect("no panic");
            let count = counts.entry(key.clone()).or_insert(0);
            *count += 1;
            *count
        };
        if does == Does::Changes && count == 2 {
            let bytes = self.objects.lock().expect("no panic")[&key].0.clone();
            self.put(&key, &bytes);
        }
        let Some((bytes, state)) = self.objects.lock().expect("no panic").get(&key).cloned() else { return said("404 Not Found", b"") };
        let tag = format!("\"{state}\"");
        if asked.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
            return said("412 Precondition Failed", b"");
        }
        let from = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let rest = &bytes[from.unwrap_or(0)..];
        let mut headers = vec![format!("ETag: {tag}")];
        headers.extend(from.map(|from| format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len())));
        let cut = matches!(does, Does::Cuts | Does::Changes) && count == 1 && rest.len() > 1000;
        let body = if cut { &rest[..rest.len() / 2] } else { rest };
        (if from.is_some() { "206 Partial Content" } else { "200 OK" }.to_owned(), headers, body.to_vec(), rest.len())
    }

    fn page(&self, query: &str) -> String {
        let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
        let (prefix, after) = (field("prefix").unwrap_or_default(), field("continuation-token"));
        let objects = self.objects.lock().expect("no panic");
        let all: Vec<_> =
            objects.iter().filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|last| *key > last)).collect();
        let mut text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for (key, (bytes, state)) in all.iter().take(2) {
            let written: String =
                key.chars().map(|c| if c.is_control() || c == '&' { format!("&#{};", c as u32) } else { c.into() }).collect();
            let _ = write!(text, "<Contents><Key>{written}</Key><Size>{}</Size><ETag>\"{state}\"</ETag></Contents>", bytes.len());
        }
        if let Some((last, _)) = all.get(1).filter(|_| all.len() > 2) {
            let _ = write!(text, "<NextContinuationToken>{last}</NextContinuationToken>");
        }
        text + "</ListBucketResult>"
    }
}

/// A text of an address, without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte.expect("a digit")).to_digit(16).expect("a digit") as u8;
        bytes.push(match byte {
            b'%' => digit(rest.next()) * 16 + digit(rest.next()),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}
