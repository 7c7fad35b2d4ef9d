//! The only module that opens a connection: requests over HTTP, with answers that are bounded before they are believed, and patience with servers
//! that ask for it. What is asked for and what an answer means, whoever calls knows.

mod download;
mod error;
mod headers;
mod stores;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::redirect::Policy;
use stores::{Store, Wanted};

pub(crate) use download::Expected;
pub use error::NetError;
pub(crate) use error::{Kind, plain};
pub(crate) use reqwest::Url;
pub(crate) use stores::{Bucket, key, list_url, object_url};

/// Most redirects from one address to the next.
const MOST_REDIRECTS: usize = 8;
/// Longest that a server may have us wait before the next try.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// How often a pause asks whether it should end.
const TICK: Duration = Duration::from_millis(100);
/// After so many requests in a row that brought nothing a server counts as down, and is left alone for so long.
const MOST_DOWN: u32 = 3;
const LEFT_ALONE: Duration = Duration::from_mins(5);
/// An answer that takes longer than this is to bring so many bytes a second.
const GRACE: Duration = Duration::from_mins(1);
const SLOWEST: u64 = 1024;

/// How long is waited, and how often it is tried.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// To connect.
    connect: Duration,
    /// For an answer to begin, and for each next piece of it.
    read: Duration,
    /// Before the second try; before each next one twice as long.
    first: Duration,
    /// Tries of one request in a row that bring nothing.
    tries: u32,
}

const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(30), read: Duration::from_mins(1), first: Duration::from_secs(1), tries: 5 };

/// A client. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`), certificates those of the system (or of `SSL_CERT_FILE`).
pub(crate) struct Net<'a> {
    client: Client,
    /// Why no certificate is trusted, where that is so.
    untrusting: Option<String>,
    /// What is sent to one server each, its home, and nowhere else.
    authorization: Vec<(Url, HeaderValue)>,
    /// By their address.
    stores: BTreeMap<String, Store>,
    stop: &'a (dyn Fn() -> bool + Sync),
    patience: Patience,
    /// By server: requests in a row that brought nothing, and when the last one ended.
    down: Mutex<BTreeMap<String, (u32, Instant)>>,
    requests: AtomicU64,
    /// Most bytes a second, and when the next ones may come.
    bandwidth: Option<(u64, Mutex<Instant>)>,
}

/// An answer in memory.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its body.
    pub bytes: Vec<u8>,
    /// The next page, on the server that was asked.
    pub next: Option<Url>,
}

/// The part of a file that is wanted: from which byte on, up to which, and of which state of it.
struct Rest<'a> {
    from: u64,
    to: Option<u64>,
    tag: Option<&'a str>,
}

/// A try that brought nothing: why, and how long the server asks to wait.
struct Missed {
    error: NetError,
    wait: Option<Duration>,
}

impl<'a> Net<'a> {
    /// A client that sends `token` to the server `home` and nowhere else. `stop` is asked while it waits.
    pub fn new(home: Option<(&Url, &str)>, stop: &'a (dyn Fn() -> bool + Sync)) -> Result<Self, NetError> {
        Self::with(home, stop, PATIENCE)
    }

    fn with(home: Option<(&Url, &str)>, stop: &'a (dyn Fn() -> bool + Sync), patience: Patience) -> Result<Self, NetError> {
        // The provider of a process is chosen once; that it was chosen before is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (client, untrusting) = match builder(patience).build() {
            Ok(client) => (client, None),
            // A machine without certificates may still use a mirror without encryption.
            Err(error) => {
                let client = builder(patience).tls_certs_only([]).build();
                let client = client.map_err(|error| NetError::new(Kind::Usage, "https", error::cause(&error)))?;
                (client, Some(error::cause(&error)))
            }
        };
        let (down, requests) = (Mutex::default(), AtomicU64::new(0));
        let (authorization, stores) = (Vec::new(), BTreeMap::new());
        let mut net = Self { client, untrusting, authorization, stores, stop, patience, down, requests, bandwidth: None };
        if let Some((home, token)) = home {
            net.authorize(home, &format!("Bearer {token}"))?;
        }
        Ok(net)
    }

    /// Sends this with each request to a server, and nowhere else.
    pub fn authorize(&mut self, home: &Url, authorization: &str) -> Result<(), NetError> {
        // The token itself is in no message.
        let wrong = |_| NetError::new(Kind::Usage, home.as_str(), "the token holds characters that no header takes");
        let mut value = HeaderValue::from_str(authorization).map_err(wrong)?;
        value.set_sensitive(true);
        self.authorization.push((home.clone(), value));
        Ok(())
    }

    /// Makes a bucket known: what its addresses name is asked of it from here on.
    pub fn add(&mut self, bucket: &Bucket) -> Result<(), NetError> {
        let mut client = builder(self.patience);
        if self.untrusting.is_some() {
            client = client.tls_certs_only([]);
        }
        self.stores.insert(bucket.address(), Store::open(bucket, client)?);
        Ok(())
    }

    /// No more than so many bytes a second are taken.
    pub fn limited(self, bytes: Option<u64>) -> Self {
        Self { bandwidth: bytes.map(|bytes| (bytes.max(1), Mutex::new(Instant::now()))), ..self }
    }

    /// Counts bytes that came, and waits until the next ones may.
    fn throttle(&self, url: &Url, bytes: usize) -> Result<(), NetError> {
        let Some((most, next)) = &self.bandwidth else { return Ok(()) };
        let wait = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *next = (*next).max(now) + Duration::from_secs_f64(bytes as f64 / *most as f64);
            *next - now
        };
        self.pause(url, wait.min(LONGEST_WAIT))
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The answer to a request, of at most so many bytes.
    pub fn get(&self, url: &Url, most: u64) -> Result<Answer, NetError> {
        let mut tries = 0;
        loop {
            match self.once(url, None).and_then(|answer| self.body(url, answer, most, false)) {
                Ok(answer) => return Ok(answer),
                Err(missed) => self.again(url, missed, &mut tries)?,
            }
        }
    }

    /// The first bytes of a file, so many or all that it has; whatever else a server sends is not taken.
    pub fn beginning(&self, url: &Url, bytes: u64) -> Result<Vec<u8>, NetError> {
        let rest = Rest { from: 0, to: bytes.checked_sub(1), tag: None };
        let mut tries = 0;
        loop {
            let answer = self.once(url, Some(&rest)).and_then(|answer| {
                let other = answer.status() == StatusCode::PARTIAL_CONTENT && headers::begins(answer.headers()) != Some(0);
                if other || answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                    return Err(NetError::new(Kind::Unread, url.as_str(), "the server sends another part than was asked for").into());
                }
                self.body(url, answer, bytes, true)
            });
            match answer {
                Ok(answer) => return Ok(answer.bytes),
                Err(missed) => self.again(url, missed, &mut tries)?,
            }
        }
    }

    /// Asks whether a file is given, without taking it.
    pub fn probe(&self, url: &Url) -> Result<(), NetError> {
        let mut tries = 0;
        loop {
            match self.once(url, Some(&Rest { from: 0, to: None, tag: None })) {
                Ok(_) => return Ok(()),
                Err(missed) => self.again(url, missed, &mut tries)?,
            }
        }
    }

    /// The body of an answer. More than `most` bytes are an error, or cut off.
    fn body(&self, url: &Url, mut answer: Response, most: u64, cut: bool) -> Result<Answer, Missed> {
        let next = headers::next(answer.headers()).and_then(|next| at_home(url, &next));
        let mut bytes = Vec::new();
        let mut pace = Pace::new();
        let mut piece = vec![0; 1 << 16];
        loop {
            self.stopped(url)?;
            match answer.read(&mut piece) {
                Ok(0) => return Ok(Answer { bytes, next }),
                Ok(read) => {
                    self.throttle(url, read)?;
                    bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
                    if cut && bytes.len() as u64 >= most {
                        bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                        return Ok(Answer { bytes, next });
                    }
                    if bytes.len() as u64 > most {
                        return Err(NetError::new(Kind::TooLarge, url.as_str(), format!("the answer has more than {most} bytes")).into());
                    }
                    if pace.is_too_slow(read) {
                        return Err(NetError::new(Kind::Down, url.as_str(), "the server answers too slowly").into());
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // It ends in the middle.
                Err(_) => return Err(NetError::new(Kind::Down, url.as_str(), "the answer ends in the middle").into()),
            }
        }
    }

    /// Waits before the next try, or gives the error where there is none.
    fn again(&self, url: &Url, missed: Missed, tries: &mut u32) -> Result<(), NetError> {
        *tries += 1;
        if !missed.error.may_pass() {
            return Err(missed.error);
        }
        if *tries >= self.patience.tries {
            let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
            let count = down.get(&server(url)).map_or(0, |(count, _)| *count);
            down.insert(server(url), (count.saturating_add(1), Instant::now()));
            return Err(missed.error);
        }
        let wait = missed.wait.unwrap_or_else(|| self.backoff(*tries)).min(LONGEST_WAIT);
        tracing::info!(error = %missed.error, seconds = wait.as_secs_f32(), "asked again");
        self.pause(url, wait)
    }

    /// One try, with its redirects. What it brings is an answer that can be used.
    fn once(&self, url: &Url, rest: Option<&Rest>) -> Result<Response, Missed> {
        self.stopped(url)?;
        let known = self.down.lock().unwrap_or_else(PoisonError::into_inner).get(&server(url)).copied();
        if known.is_some_and(|(count, last)| count >= MOST_DOWN && last.elapsed() < LEFT_ALONE) {
            let reason = format!("the server did not answer {MOST_DOWN} requests in a row, and is left alone for a while");
            return Err(NetError::new(Kind::Absent, url.as_str(), reason).into());
        }
        let answer = self.follow(url, rest)?;
        let status = answer.status();
        if status.is_success() || (rest.is_some() && status == StatusCode::RANGE_NOT_SATISFIABLE) {
            self.down.lock().unwrap_or_else(PoisonError::into_inner).remove(&server(url));
            return Ok(answer);
        }
        Err(Missed { error: NetError::of_status(url, status, answer.headers()), wait: headers::wait(answer.headers()) })
    }

    /// One request with its redirects, which are followed here, where it is known what goes along.
    fn follow(&self, url: &Url, rest: Option<&Rest>) -> Result<Response, NetError> {
        if stores::is_store(url) {
            return self.ask(url, rest);
        }
        let mut at = url.clone();
        // Whoever is redirected away comes back without the token.
        let mut away = false;
        for _ in 0..=MOST_REDIRECTS {
            away |= at.origin() != url.origin();
            let mut request = self.client.get(at.clone()).headers(self.headers(url, away));
            if let Some(Rest { from, to, tag }) = rest {
                let to = to.map_or_else(String::new, |to| to.to_string());
                request = request.header(RANGE, format!("bytes={from}-{to}"));
                if let Some(tag) = tag {
                    request = request.header(IF_RANGE, *tag);
                }
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = request.send().map_err(|error| NetError::of_transport(url, &error, self.untrusting.as_deref()))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let refuse = |reason: &str| NetError::new(Kind::Redirect, url.as_str(), reason);
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).ok_or_else(|| refuse("it is redirected to nowhere"))?;
            let to = at.join(to).map_err(|_| refuse("it is redirected to what is no address"))?;
            if !["http", "https"].contains(&to.scheme()) {
                return Err(refuse("it is redirected to what is neither http nor https"));
            }
            if at.scheme() == "https" && to.scheme() != "https" {
                return Err(refuse("it is redirected from https to what is not"));
            }
            // What only this machine can reach is none of what a server may lead to: a machine's own credentials are there.
            if to.host_str() != at.host_str() && is_of_this_machine(&to) {
                return Err(refuse("it is redirected to an address of this machine"));
            }
            at = to;
        }
        Err(NetError::new(Kind::Redirect, url.as_str(), format!("it is redirected more than {MOST_REDIRECTS} times")))
    }

    /// One request to a store. What leads elsewhere is not followed: a signature is for one server.
    fn ask(&self, url: &Url, rest: Option<&Rest>) -> Result<Response, NetError> {
        let wrong = |reason: &str| NetError::new(Kind::Usage, url.as_str(), reason);
        let unknown = || wrong("no source has this bucket, or what the environment says of it cannot be used");
        let store = self.stores.get(&server(url)).ok_or_else(unknown)?;
        let (at, signed) = if url.query().is_some() {
            let pair = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            store.sign(&Wanted::List { prefix: &pair("prefix").unwrap_or_default(), page: pair("page").as_deref() })?
        } else {
            let key = key(url.as_str()).ok_or_else(|| wrong("its key is no text"))?;
            let (from, tag) = rest.map_or((0, None), |rest| (rest.from, rest.tag));
            store.sign(&Wanted::Object { key: &key, from, tag })?
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.client.get(at).headers(signed).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request.send().map_err(|error| NetError::of_transport(url, &error, self.untrusting.as_deref()))
    }

    fn headers(&self, url: &Url, away: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // The bytes of a file are those that its digest is of.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some((_, value)) = self.authorization.iter().find(|(home, _)| !away && home.origin() == url.origin()) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers
    }

    fn backoff(&self, tries: u32) -> Duration {
        // Machines that were refused together do not come back together.
        let spread = f64::from((RandomState::new().build_hasher().finish() >> 32) as u32) / f64::from(u32::MAX);
        self.patience.first.saturating_mul(1 << tries.min(8).saturating_sub(1)).mul_f64(1.0 + 0.5 * spread)
    }

    /// Waits, unless the user ends it.
    fn pause(&self, url: &Url, wait: Duration) -> Result<(), NetError> {
        let end = Instant::now() + wait;
        loop {
            self.stopped(url)?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(TICK.min(left));
        }
    }

    fn stopped(&self, url: &Url) -> Result<(), NetError> {
        if (self.stop)() { Err(NetError::new(Kind::Stopped, url.as_str(), "interrupted")) } else { Ok(()) }
    }
}

fn builder(patience: Patience) -> ClientBuilder {
    let client = Client::builder().user_agent(concat!("heirloom/", env!("CARGO_PKG_VERSION")));
    client.redirect(Policy::none()).referer(false).connect_timeout(patience.connect).timeout(patience.read)
}

/// Whether an address is this machine's, or of its network alone (169.254.169.254 of clouds).
fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn server(url: &Url) -> String {
    if stores::is_store(url) {
        return format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    }
    url.origin().ascii_serialization()
}

/// The next page's address on the server that was asked for the first one: a mirror hands on what the hub says of itself.
fn at_home(from: &Url, next: &str) -> Option<Url> {
    let mut next = from.join(next).ok()?;
    if next.origin() != from.origin() {
        let mut home = from.clone();
        home.set_path(next.path());
        home.set_query(next.query());
        next = home;
    }
    next.set_fragment(None);
    Some(next)
}

/// How fast an answer comes.
struct Pace {
    begun: Instant,
    bytes: u64,
}

impl Pace {
    fn new() -> Self {
        Self { begun: Instant::now(), bytes: 0 }
    }

    /// Counts bytes. Whether there are too few for the time.
    fn is_too_slow(&mut self, read: usize) -> bool {
        self.bytes = self.bytes.saturating_add(read as u64);
        let elapsed = self.begun.elapsed();
        elapsed > GRACE && self.bytes < elapsed.as_secs().saturating_mul(SLOWEST)
    }
}

impl From<NetError> for Missed {
    fn from(error: NetError) -> Self {
        Self { error, wait: None }
    }
}
