//! The regular files of a tar archive, one after the other, with every length held against the file before it is believed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use tar::{Archive, Entry, EntryType};

use super::{DataError, refused};

/// Most bytes of all headers of one member: its own, and those that hold a long path or further fields.
const MAX_HEADERS: u64 = 64 << 10;
/// Most bytes of a path.
const MAX_PATH: usize = 4096;
/// Most characters of a text of the archive in a message.
const MAX_SHOWN: usize = 120;
/// Bytes of a block, of which an archive consists.
const BLOCK: usize = 512;

/// One regular file of an archive.
pub(super) struct Member<'m> {
    /// Where it lies in the archive.
    pub(super) path: &'m str,
    /// Its bytes; the archive has as many left.
    pub(super) size: u64,
    shard: &'m str,
    content: &'m mut dyn Read,
}

impl Member<'_> {
    /// All its bytes.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, DataError> {
        let Self { path, size, shard, .. } = self;
        let mut bytes = Vec::new();
        let reserved = usize::try_from(*size).is_ok_and(|size| bytes.try_reserve_exact(size).is_ok());
        if !reserved {
            let source = io::ErrorKind::OutOfMemory.into();
            return Err(DataError::Read { path: format!("{shard}:{path}"), source });
        }
        self.content.read_to_end(&mut bytes).map_err(|e| unreadable(self.shard, e))?;
        if bytes.len() as u64 == self.size { Ok(bytes) } else { Err(damaged(self.shard, format!("it ends inside `{}`", self.path))) }
    }
}

/// Calls `each` with every regular file of the archive called `shard`.
pub(super) fn walk<R: Read + Seek>(
    mut input: R,
    shard: &str,
    mut each: impl FnMut(&mut Member) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let broken = |error| unreadable(shard, error);
    let length = input.seek(SeekFrom::End(0)).map_err(broken)?;
    input.rewind().map_err(broken)?;
    packed(&mut input, shard)?;
    input.rewind().map_err(broken)?;
    let (left, ended) = (Cell::new(0), Cell::new(false));
    let mut archive = Archive::new(Metered { input, left: &left, ended: &ended });
    let mut entries = archive.entries_with_seek().map_err(broken)?;
    loop {
        left.set(MAX_HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(broken)?;
        let bytes = entry.path_bytes().into_owned();
        let shown = plain(&String::from_utf8_lossy(&bytes));
        // Its length stands in the fields, where they name one, else in the header.
        let (size, left_over) = (entry.size(), length.saturating_sub(entry.raw_file_position()));
        if !wanted(&mut entry, shard, &shown)? {
            continue;
        }
        if size > left_over {
            return Err(damaged(shard, format!("it says that `{shown}` has {size} bytes, and {left_over} are left")));
        }
        let path = match String::from_utf8(bytes) {
            Ok(path) if path.len() > MAX_PATH => Err(format!("has {} bytes; at most {MAX_PATH} are read", path.len())),
            Ok(path) if path.chars().any(char::is_control) => Err("has control characters".to_owned()),
            Ok(path) => Ok(path),
            Err(_) => Err("is not UTF-8".to_owned()),
        };
        let path = path.map_err(|why| refused(shard, format!("the path `{shown}` {why}"), "give the member a short path of plain text"))?;
        left.set(size);
        each(&mut Member { path: &path, size, shard, content: &mut entry })?;
    }
    if ended.get() {
        let reason = if length == 0 { "it is empty" } else { "it ends without the zeros that close an archive" };
        return Err(damaged(shard, reason.to_owned()));
    }
    // The package stops at the first end, and says nothing.
    let mut rest = archive.into_inner().input;
    let mut block = vec![0; 64 << 10];
    loop {
        match rest.read(&mut block).map_err(broken)? {
            0 => return Ok(()),
            n if block.iter().take(n).all(|byte| *byte == 0) => {}
            _ => {
                let reason = "more bytes follow after the end of the archive, as where two archives were joined";
                return Err(refused(shard, reason, "write the archives as files of their own, and name them with `*`"));
            }
        }
    }
}

/// Whether an entry is a regular file. What else would hold an image or a label is refused.
fn wanted<R: Read>(entry: &mut Entry<R>, shard: &str, path: &str) -> Result<bool, DataError> {
    let kind = entry.header().entry_type();
    let mut fields = BTreeSet::new();
    for field in entry.pax_extensions().map_err(|e| unreadable(shard, e))?.into_iter().flatten() {
        let key = field.ok().and_then(|field| field.key().map(str::to_owned).ok());
        if !key.is_some_and(|key| fields.insert(key)) {
            return Err(damaged(shard, format!("the further fields of `{path}` are odd or there twice")));
        }
    }
    let sparse = kind == EntryType::GNUSparse || fields.iter().any(|field| field.starts_with("GNU.sparse."));
    let (what, hint) = match kind {
        EntryType::Regular | EntryType::Continuous if !sparse => return Ok(true),
        EntryType::Directory => return Ok(false),
        // What `git archive` writes; anything else would be said of all that follows.
        EntryType::XGlobalHeader if fields.iter().all(|field| field == "comment") => return Ok(false),
        EntryType::XGlobalHeader => {
            ("has fields that hold for all members, which are not read", "write the archive without pax global headers")
        }
        EntryType::Link | EntryType::Symlink => {
            ("is a link, which is not followed", "write the archive with what the links lead to: tar --dereference --hard-dereference -cf")
        }
        _ if sparse => ("is a sparse file, which is not read", "write the archive without `--sparse`"),
        _ => ("is no regular file, and is not read", "take it out of the archive"),
    };
    Err(refused(shard, format!("`{path}` {what}"), hint))
}

/// Refuses an archive that is packed as a whole.
fn packed(input: &mut impl Read, shard: &str) -> Result<(), DataError> {
    let mut first = Vec::new();
    input.take(BLOCK as u64).read_to_end(&mut first).map_err(|e| unreadable(shard, e))?;
    if first.get(257..262).is_some_and(|magic| magic == b"ustar") {
        return Ok(());
    }
    let kinds: [(&[u8], &str, &str); 4] = [
        (&[0x1f, 0x8b], "gzip", "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "Zstandard", "zstd -d"),
        (b"BZh", "bzip2", "bunzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
    ];
    match kinds.iter().find(|(magic, ..)| first.starts_with(magic)) {
        Some((_, by, command)) => {
            let hint = format!("unpack it, and name the file that comes of it: {command} {shard}");
            Err(refused(shard, format!("the archive is packed with {by}, which is not read"), hint))
        }
        None => Ok(()),
    }
}

/// A reader of so many bytes, which remembers whether it was read at its end.
struct Metered<'c, R> {
    input: R,
    left: &'c Cell<u64>,
    ended: &'c Cell<bool>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(into.len());
        if most == 0 && !into.is_empty() {
            return Err(io::Error::other(format!("the headers of one member take more than {MAX_HEADERS} bytes")));
        }
        let read = self.input.read(into.get_mut(..most).unwrap_or_default())?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        self.ended.set(read == 0 && most > 0);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// The system's own errors are no damage.
fn unreadable(shard: &str, source: io::Error) -> DataError {
    if source.raw_os_error().is_some() {
        return DataError::Read { path: shard.to_owned(), source };
    }
    damaged(shard, format!("it is no readable tar file: {}", plain(&source.to_string())))
}

/// A text of unknown origin for a message: what is no letter is written out, and a long text is cut.
fn plain(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

fn damaged(shard: &str, reason: String) -> DataError {
    DataError::Format { path: shard.to_owned(), reason }
}
