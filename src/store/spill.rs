//! Byte strings of any length, kept until they are used: in memory while there is room, else one after the other in a file without a name.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::rows::{MemoryBudget, RowsError, read_exact_at, write_all_at};

/// What is kept, and how much of a room it takes.
#[derive(Debug)]
pub(crate) struct SpillBuffer<'a> {
    budget: &'a MemoryBudget,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    file: Option<Arc<File>>,
    end: u64,
}

/// One byte string.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Place);

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<[u8]>),
    File { file: Arc<File>, offset: u64, len: usize },
}

impl<'a> SpillBuffer<'a> {
    /// Nothing yet.
    pub(crate) fn new(budget: &'a MemoryBudget) -> Self {
        Self { budget, state: Mutex::default() }
    }

    /// Keeps some bytes.
    pub(crate) fn keep(&self, bytes: &[u8]) -> Result<Kept, RowsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let len = bytes.len() as u64;
        if self.budget.take(len) {
            state.taken += len;
            return Ok(Kept(Place::Memory(bytes.into())));
        }
        let total = state.end + len;
        let refused = |source| RowsError { folder: self.budget.folder().to_owned(), bytes: total, source };
        let file = match &state.file {
            Some(file) => file.clone(),
            None => Arc::new(tempfile::tempfile_in(self.budget.folder()).map_err(refused)?),
        };
        write_all_at(&file, bytes, state.end).map_err(refused)?;
        let kept = Kept(Place::File { file: file.clone(), offset: state.end, len: bytes.len() });
        (state.file, state.end) = (Some(file), total);
        Ok(kept)
    }

    /// Gives back the room that was taken, when what was kept is needed no more.
    pub(crate) fn release(self) {
        self.budget.give(self.state.into_inner().unwrap_or_else(PoisonError::into_inner).taken);
    }
}

impl Kept {
    /// The bytes.
    pub(crate) fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.0 {
            Place::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            Place::File { file, offset, len } => {
                let mut bytes = vec![0; *len];
                read_exact_at(file, &mut bytes, *offset)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_from_memory_and_disk() {
        let folder = tempfile::tempdir().unwrap();
        let budget = MemoryBudget::new(10, folder.path().to_owned());
        let spill = SpillBuffer::new(&budget);
        let strings = [&b"abcdefg"[..], b"", b"hijklmn", b"o", b"pqrstuvwxyz"];
        let kept = strings.map(|bytes| spill.keep(bytes).unwrap());
        assert_eq!(kept.each_ref().map(|kept| matches!(kept.0, Place::Memory(_))), [true, true, false, true, false]);
        for (kept, bytes) in kept.iter().zip(strings) {
            assert_eq!(*kept.bytes().unwrap(), *bytes);
        }
        spill.release();
        assert!(budget.take(10) && !budget.take(1));
    }
}
