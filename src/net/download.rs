//! A file from a server: in pieces where it must be, whole and checked where it is there.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use reqwest::blocking::Response;

use super::error::{Kind, NetError};
use super::{Net, Pace, Rest, Url, headers};
use crate::store::{self, Digest};

/// Bytes that are taken from a connection at once.
const PIECE: usize = 1 << 16;
/// Most pieces that a file may come in.
const MOST_ROUNDS: u32 = 1000;

/// What a file must be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Its size in bytes, where it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256, where it is known.
    pub digest: Option<Digest>,
    /// Most bytes that are taken.
    pub most: u64,
    /// Of a store: the tag of the state that is wanted. In another state it is not taken.
    pub tag: Option<String>,
}

/// How far a file is here.
struct Part {
    file: File,
    path: PathBuf,
    have: u64,
    /// What the server calls the state that these bytes are of.
    tag: Option<String>,
    /// Whether only the digest says that the bytes belong together.
    spliced: bool,
}

/// How an answer ended.
enum End {
    /// As it was announced.
    Whole,
    /// Somehow: it was not announced where.
    Somewhere,
    /// In the middle.
    Cut,
}

impl Net<'_> {
    /// Downloads a file to a path, by way of `PATH.part`. Where the connection ends, it goes on from there if the server says that the file is
    /// still the same, or its digest will tell; so does a later run. What is there in the end has the size and digest that were named; other bytes
    /// are asked for once more.
    /// `progress` is told how many bytes are here.
    pub fn download(&self, url: &Url, to: &Path, expected: &Expected, progress: &mut dyn FnMut(u64)) -> Result<Digest, NetError> {
        let failed = |error| disk(url, to, &error);
        std::fs::create_dir_all(store::folder_of(to)).map_err(failed)?;
        let mut part = Part::open(to, expected).map_err(failed)?;
        let digest = match self.whole(url, &mut part, expected, progress) {
            // What a proxy cut short may be whole the next time. What is wrong twice is wrong.
            Err(error) if error.kind == Kind::Digest => {
                tracing::info!(%error, "asked again");
                self.pause(url, self.backoff(1))?;
                part = Part::open(to, expected).map_err(failed)?;
                self.whole(url, &mut part, expected, progress)?
            }
            done => done?,
        };
        part.file.sync_all().map_err(failed)?;
        std::fs::rename(&part.path, to).map_err(failed)?;
        Ok(digest)
    }

    /// Takes all of a file, and checks it. What is wrong is removed.
    fn whole(&self, url: &Url, part: &mut Part, expected: &Expected, progress: &mut dyn FnMut(u64)) -> Result<Digest, NetError> {
        let path = part.path.clone();
        let failed = |error| disk(url, &path, &error);
        let (mut tries, mut rounds, mut most) = (0, 0, part.have);
        loop {
            let whole = expected.bytes.is_some_and(|bytes| part.have == bytes);
            if !whole || part.have == 0 && rounds == 0 {
                rounds += 1;
                match self.piece(url, part, expected, progress) {
                    Ok(End::Whole | End::Somewhere) if expected.bytes.is_none_or(|bytes| part.have >= bytes) => {}
                    Ok(end) => {
                        // What comes again and again from the start brings nothing.
                        let brought = part.have > most;
                        most = most.max(part.have);
                        let short = |bytes| wrong(url, &format!("it has {} bytes, and {bytes} were named", part.have));
                        let again = || format!("the connection ends again and again after {} bytes", part.have);
                        let is_final = matches!(end, End::Whole);
                        let missed = match (end, expected.bytes) {
                            (End::Whole | End::Somewhere, Some(bytes)) => short(bytes),
                            _ => NetError::new(Kind::Down, url.as_str(), again()),
                        };
                        // What brings something is no try in vain.
                        tries = if brought { 0 } else { tries + 1 };
                        if is_final || tries >= self.patience.tries || rounds >= MOST_ROUNDS {
                            part.remove();
                            return Err(missed);
                        }
                        self.pause(url, if brought { std::time::Duration::ZERO } else { self.backoff(tries) })?;
                        continue;
                    }
                    Err(missed) => {
                        if matches!(missed.error.kind, Kind::Disk | Kind::Digest | Kind::TooLarge | Kind::Changed) {
                            // Others may need the room.
                            part.remove();
                        }
                        self.again(url, missed, &mut tries)?;
                        continue;
                    }
                }
            }
            let digest = store::open(&part.path).and_then(Digest::of_reader).map_err(failed)?;
            match &expected.digest {
                Some(named) if *named != digest && part.spliced => part.empty().map_err(failed)?,
                Some(named) if *named != digest => {
                    part.remove();
                    return Err(wrong(url, &format!("its SHA-256 is {}, and {} was named", digest.digits(), named.digits())));
                }
                _ => return Ok(digest),
            }
        }
    }

    /// Takes as much of a file as one answer brings.
    fn piece(&self, url: &Url, part: &mut Part, expected: &Expected, progress: &mut dyn FnMut(u64)) -> Result<End, super::Missed> {
        let path = part.path.clone();
        let failed = |error| disk(url, &path, &error);
        // Of a store the state that was listed is asked for, and no other.
        let pinned = expected.tag.as_deref();
        let may_go_on = part.have > 0 && (part.tag.is_some() || expected.digest.is_some());
        let rest = match pinned {
            Some(tag) => Some(Rest { from: part.have, to: None, tag: Some(tag) }),
            None => may_go_on.then_some(Rest { from: part.have, to: None, tag: part.tag.as_deref() }),
        };
        let answer = self.once(url, rest.as_ref())?;
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        if partial && may_go_on && headers::begins(answer.headers()) == Some(part.have) {
            part.spliced |= part.tag.is_none();
        } else {
            let asked = partial || answer.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            part.empty().map_err(failed)?;
            if asked {
                // Another part than was asked for: from the start, then.
                return Ok(End::Cut);
            }
        }
        let resumed = part.have > 0;
        part.tag = headers::tag(answer.headers());
        if pinned.is_some() && resumed && part.tag.is_none() {
            // The server does not say of which state the rest is: from the start, then.
            part.empty().map_err(failed)?;
            return Ok(End::Cut);
        }
        if let (Some(pinned), Some(tag)) = (pinned, &part.tag)
            && pinned != tag
        {
            return Err(NetError::new(Kind::Changed, url.as_str(), "it changed since it was listed").into());
        }
        Ok(self.take(answer, part, expected, url, progress)?)
    }

    /// Takes a body as far as it goes.
    fn take(
        &self,
        mut answer: Response,
        part: &mut Part,
        expected: &Expected,
        url: &Url,
        progress: &mut dyn FnMut(u64),
    ) -> Result<End, NetError> {
        let most = expected.bytes.unwrap_or(expected.most).min(expected.most);
        let mut piece = vec![0; PIECE];
        let mut pace = Pace::new();
        let announced = answer.content_length().is_some();
        loop {
            self.stopped(url)?;
            let read = match answer.read(&mut piece) {
                Ok(0) => return Ok(if announced { End::Whole } else { End::Somewhere }),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The connection is gone, or a body is shorter than was said.
                Err(_) => return Ok(End::Cut),
            };
            if part.have.saturating_add(read as u64) > most {
                return Err(match expected.bytes {
                    Some(bytes) if bytes <= expected.most => wrong(url, &format!("it has more than the {bytes} bytes that were named")),
                    _ => NetError::new(Kind::TooLarge, url.as_str(), format!("it has more than the {most} bytes that are read")),
                });
            }
            let bytes = piece.get(..read).unwrap_or_default();
            part.file.write_all(bytes).map_err(|error| disk(url, &part.path, &error))?;
            part.have += read as u64;
            progress(part.have);
            self.throttle(url, read)?;
            if pace.is_too_slow(read) {
                return Ok(End::Cut);
            }
        }
    }
}

impl Part {
    /// What an earlier run left is gone on from where the digest will tell whether that was right.
    fn open(to: &Path, expected: &Expected) -> std::io::Result<Self> {
        let mut name = to.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        let have = file.metadata()?.len();
        let mut part = Self { file, path, have, tag: None, spliced: have > 0 };
        part.tag.clone_from(&expected.tag);
        // What is of one state only lies under that state's name.
        let usable = (expected.digest.is_some() || expected.tag.is_some()) && expected.bytes.is_none_or(|bytes| have <= bytes);
        if usable {
            part.file.seek(SeekFrom::End(0)).map(drop)?;
        } else {
            part.empty()?;
        }
        Ok(part)
    }

    fn empty(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.have, self.tag, self.spliced) = (0, None, false);
        Ok(())
    }

    fn remove(&self) {
        // What cannot be removed now is when the folder is.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn wrong(url: &Url, reason: &str) -> NetError {
    NetError::new(Kind::Digest, url.as_str(), reason)
}

fn disk(url: &Url, path: &Path, error: &std::io::Error) -> NetError {
    NetError::new(Kind::Disk, url.as_str(), format!("it cannot be written to {}: {error}", path.display()))
}
