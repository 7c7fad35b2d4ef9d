//! A hub of the tests' own on loopback: pages, files, and everything that goes wrong with real ones. Large files are on another origin, as they are
//! there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a hub does wrong.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Mischief {
    /// The first request for everything is one too many.
    pub busy: bool,
    /// Large files end after half of what their headers say, at the first request and at the second.
    pub cut: bool,
    /// The first answer to everything is an error of the server.
    pub broken: bool,
    /// The first answers have half of a file and say that this is all.
    pub lying: bool,
    /// Files come after a while.
    pub slow: bool,
    /// A file that was cut has another tag the next time.
    pub changing: bool,
    /// Large files never end.
    pub hanging: bool,
}

/// What is wrong with one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrong {
    #[default]
    Nothing,
    /// Its large files have other bytes than their digest says.
    Digest,
    /// Its large files have fewer bytes than is said.
    Length,
    /// It is only for those who accept its terms.
    Gated,
    /// It asks for a token that may read it.
    Auth,
    /// In the list, and not there.
    Vanished,
    /// Its files are redirected in a circle.
    Circle,
    /// It is taken away.
    Disabled,
    /// In no list, and not there.
    Gone,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub files: Vec<(String, Vec<u8>)>,
    pub wrong: Wrong,
    /// Its commits are numbered.
    pub commit: u64,
    pub tags: Vec<&'static str>,
}

impl Model {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        Self { files, wrong: Wrong::Nothing, commit: 1, tags: Vec::new() }
    }

    pub fn wrong(self, wrong: Wrong) -> Self {
        Self { wrong, ..self }
    }

    pub fn sha(&self) -> String {
        format!("{:040x}", self.commit)
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

struct State {
    models: Mutex<BTreeMap<String, Model>>,
    mischief: Mutex<Mischief>,
    counts: Mutex<BTreeMap<String, usize>>,
    seen: Mutex<Vec<Seen>>,
    elsewhere: Mutex<Vec<Seen>>,
    store: String,
}

/// A hub that runs until the tests end.
pub struct Hub {
    pub address: String,
    state: Arc<State>,
}

impl Hub {
    pub fn start(models: &[(&str, Model)], mischief: Mischief) -> Self {
        let (own, store) = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port")).into();
        let at = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let models = Mutex::new(models.iter().map(|(name, model)| ((*name).to_owned(), model.clone())).collect());
        let (counts, seen, elsewhere) = (Mutex::default(), Mutex::default(), Mutex::default());
        let state = Arc::new(State { models, mischief: Mutex::new(mischief), counts, seen, elsewhere, store: at(&store) });
        let address = at(&own);
        for (listener, home) in [(own, true), (store, false)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    // What a client that went away does not read is no failure.
                    std::thread::spawn(move || drop(answer(stream, &state, home)));
                }
            });
        }
        Self { address, state }
    }

    /// Changes a model, or adds one.
    pub fn put(&self, name: &str, model: Model) {
        self.state.models.lock().expect("no panic").insert(name.to_owned(), model);
    }

    /// Changes what is wrong with a model.
    pub fn make(&self, name: &str, wrong: Wrong) {
        self.state.models.lock().expect("no panic").get_mut(name).expect("a model").wrong = wrong;
    }

    /// Ends all mischief.
    pub fn calm(&self) {
        *self.state.mischief.lock().expect("no panic") = Mischief::default();
    }

    /// What was asked of the hub since this was asked last.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().expect("no panic"))
    }

    /// What was asked of its storage, which is another origin, since this was asked last.
    pub fn seen_elsewhere(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.elsewhere.lock().expect("no panic"))
    }
}

fn answer(mut stream: TcpStream, state: &State, home: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut authorization, mut range, mut state_of) = (None, None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = Some(value.trim().to_owned());
        match name.to_lowercase().as_str() {
            "authorization" => authorization = value,
            "range" => range = value,
            "if-range" => state_of = value,
            _ => {}
        }
    }
    let seen = Seen { path: path.clone(), authorization, range: range.clone() };
    if home { &state.seen } else { &state.elsewhere }.lock().expect("no panic").push(seen);
    let count = {
        let mut counts = state.counts.lock().expect("no panic");
        let count = counts.entry(format!("{home} {path}")).or_insert(0);
        *count += 1;
        *count
    };
    let mischief = *state.mischief.lock().expect("no panic");
    if mischief.busy && count == 1 {
        return send(&mut stream, "429 Too Many Requests", &["RateLimit: \"api\";r=5;t=300", "Retry-After: 0"], b"");
    }
    if mischief.broken && count == 1 {
        return send(&mut stream, "503 Service Unavailable", &["Retry-After: 0"], b"later");
    }
    let models = state.models.lock().expect("no panic").clone();
    let (route, query) = path.split_once('?').unwrap_or((&path, ""));
    let parts: Vec<&str> = route.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", "models"] => list(&mut stream, &models, query),
        ["api", "models", owner, name, "revision", revision] => info(&mut stream, &models, &format!("{owner}/{name}"), revision),
        [owner, name, "resolve", revision, file @ ..] => {
            let (name, file) = (format!("{owner}/{name}"), file.join("/"));
            let Some(model) = models.get(&name).filter(|model| model.sha() == *revision) else {
                return missing(&mut stream, "EntryNotFound");
            };
            match model.wrong {
                Wrong::Gated => send(&mut stream, "403 Forbidden", &["X-Error-Code: GatedRepo"], b""),
                Wrong::Circle => send(&mut stream, "302 Found", &[&format!("Location: {route}")], b""),
                _ if is_large(&file) && home => {
                    send(&mut stream, "302 Found", &[&format!("Location: {}{route}?signature=secret", state.store)], b"")
                }
                _ => blob(&mut stream, mischief, model, &file, [range.as_deref(), state_of.as_deref()], count),
            }
        }
        _ => missing(&mut stream, "EntryNotFound"),
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) -> std::io::Result<()> {
    sized(stream, status, headers, body, body.len())
}

fn missing(stream: &mut TcpStream, code: &str) -> std::io::Result<()> {
    send(stream, "404 Not Found", &[&format!("X-Error-Code: {code}")], b"{}")
}

fn sized(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8], length: usize) -> std::io::Result<()> {
    let more = headers.iter().fold(String::new(), |text, header| text + header + "\r\n");
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}

/// Four a page; the next one's address is that of the hub that this one mirrors. As there, a model's commit is told where it is asked for.
fn list(stream: &mut TcpStream, models: &BTreeMap<String, Model>, query: &str) -> std::io::Result<()> {
    let value = |key: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value);
    let from: usize = value("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let author = value("author").unwrap_or_default();
    let asked = |field: &str| query.split('&').any(|pair| pair == format!("expand={field}"));
    let listed: Vec<_> =
        models.iter().filter(|(name, model)| name.starts_with(&format!("{author}/")) && model.wrong != Wrong::Gone).collect();
    let one = |(name, model): &(&String, &Model)| {
        let sha = if asked("sha") { format!(", \"sha\": \"{}\"", model.sha()) } else { String::new() };
        let disabled = if asked("disabled") { format!(", \"disabled\": {}", model.wrong == Wrong::Disabled) } else { String::new() };
        let tags = if asked("tags") { format!(", \"tags\": {:?}", model.tags) } else { String::new() };
        format!("{{\"_id\": \"x\", \"id\": \"{name}\"{sha}{disabled}{tags}}}")
    };
    let page: Vec<String> = listed.iter().skip(from).take(4).map(one).collect();
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("cursor=")).collect();
    let link = format!("Link: <https://upstream.invalid/api/models?{}&cursor={}>; rel=\"next\"", rest.join("&"), from + 4);
    let headers: &[&str] = if from + 4 < listed.len() { &[&link] } else { &[] };
    send(stream, "200 OK", headers, format!("[{}]", page.join(", ")).as_bytes())
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".onnx", ".data"].iter().any(|end| name.ends_with(end))
}

fn info(stream: &mut TcpStream, models: &BTreeMap<String, Model>, name: &str, revision: &str) -> std::io::Result<()> {
    let Some(model) = models.get(name).filter(|model| !matches!(model.wrong, Wrong::Vanished | Wrong::Gone)) else {
        return missing(stream, "RepoNotFound");
    };
    if revision != "main" && revision != model.sha() {
        return missing(stream, "RevisionNotFound");
    }
    if model.wrong == Wrong::Auth {
        return send(stream, "401 Unauthorized", &["X-Error-Code: RepoNotFound"], b"{}");
    }
    let sibling = |(path, bytes): &(String, Vec<u8>)| {
        let digest: String = crate::run::sha256(bytes);
        let length = if model.wrong == Wrong::Length { bytes.len() + 7 } else { bytes.len() };
        let lfs = if is_large(path) { format!(", \"lfs\": {{\"sha256\": \"{digest}\", \"size\": {length}}}") } else { String::new() };
        format!("{{\"rfilename\": \"{path}\", \"size\": {length}{lfs}}}")
    };
    let siblings: Vec<String> =
        model.files.iter().map(sibling).chain(["{\"rfilename\": \"../../escape.json\", \"size\": 3}".to_owned()]).collect();
    let gated = if model.wrong == Wrong::Gated { "\"manual\"" } else { "false" };
    let body = format!(
        "{{\"id\": \"{name}\", \"sha\": \"{}\", \"gated\": {gated}, \"tags\": {:?}, \"siblings\": [{}]}}",
        model.sha(),
        model.tags,
        siblings.join(", ")
    );
    send(stream, "200 OK", &[], body.as_bytes())
}

fn blob(
    stream: &mut TcpStream,
    mischief: Mischief,
    model: &Model,
    file: &str,
    [range, state_of]: [Option<&str>; 2],
    count: usize,
) -> std::io::Result<()> {
    let Some((_, bytes)) = model.files.iter().find(|(path, _)| path == file) else { return missing(stream, "EntryNotFound") };
    let mut bytes = bytes.clone();
    let large = is_large(file);
    if large && model.wrong == Wrong::Digest {
        *bytes.last_mut().expect("a byte") ^= 1;
    }
    if mischief.slow {
        std::thread::sleep(Duration::from_millis(300));
    }
    // With the second request the file has another tag.
    let tag = if mischief.changing && count > 1 { "\"two\"" } else { "\"one\"" };
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.filter(|_| state_of.is_none_or(|of| of == tag));
    let from: Option<usize> = range.and_then(|(from, _)| from.parse().ok());
    let to = range.and_then(|(_, to)| to.parse().ok()).map_or(bytes.len(), |to: usize| (to + 1).min(bytes.len()));
    let rest = &bytes[from.unwrap_or(0).min(to)..to];
    let tagged = format!("ETag: {tag}");
    let place = format!("Content-Range: bytes {}-{}/{}", from.unwrap_or(0), to.saturating_sub(1), bytes.len());
    let (status, headers): (_, &[&str]) = if from.is_some() { ("206 Partial Content", &[&tagged, &place]) } else { ("200 OK", &[&tagged]) };
    if large && mischief.cut && count <= 2 && rest.len() > 1 {
        return sized(stream, status, headers, &rest[..rest.len() / 2], rest.len());
    }
    if large && mischief.lying && count <= 1 {
        return send(stream, status, headers, &rest[..rest.len() / 2]);
    }
    if large && mischief.hanging {
        sized(stream, status, headers, &rest[..rest.len() / 2], rest.len())?;
        std::thread::sleep(Duration::from_mins(5));
    }
    send(stream, status, headers, rest)
}
