//! What a program and its worker say to each other: frames of JSON through the worker's standard input and output. A model's bytes follow
//! their frame; tensors lie in a file that both have open. Nothing that comes is believed before its size is checked.

use std::fs::File;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::network::Output;
use super::{Provider, RuntimeError};
use crate::store::{read_exact_at, write_all_at};

/// Version of all this.
pub(super) const PROTOCOL: u32 = 1;

/// Most bytes of a frame: the names and shapes of some ten thousand tensors.
const MOST_FRAME: usize = 8 << 20;
/// Most characters of the library's own words.
const MOST_WORDS: usize = 2000;

/// What the program asks.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Load the library.
    Open,
    /// Say whether sessions can start there.
    Start { provider: Provider },
    /// Load a network under a number. The bytes of the file follow, then those of the files beside it.
    Session { session: u64, provider: Provider, threads: usize, bytes: u64, external: Vec<(String, u64)>, outputs: Vec<String> },
    /// Run it on the numbers at the start of the shared file.
    Run { session: u64, dims: Vec<usize> },
    /// Forget it. There is no answer.
    Close { session: u64 },
}

/// What the worker answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The library is loaded.
    Opened { protocol: u32, version: String },
    /// Sessions can start.
    Started,
    /// The network is loaded: images per batch where they are not free, and what is read of it.
    Session { batch: Option<usize>, outputs: Vec<String> },
    /// The numbers of its outputs lie in the shared file, one after the other.
    Ran { shapes: Vec<Vec<usize>> },
    /// It cannot be done.
    Refused(Fault),
}

/// An error of the library, without what the program knows itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Fault {
    NotALibrary(String),
    Old(String),
    Start(String),
    NoCuda,
    Cuda(usize, String),
    Refused(String),
    Run(String),
}

impl From<RuntimeError> for Fault {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::NotALibrary { reason, .. } => Self::NotALibrary(reason),
            RuntimeError::Old { version, .. } => Self::Old(version),
            RuntimeError::Start { reason, .. } => Self::Start(reason),
            RuntimeError::NoCuda { .. } => Self::NoCuda,
            RuntimeError::Cuda { ordinal, reason } => Self::Cuda(ordinal, reason),
            RuntimeError::Refused { reason } => Self::Refused(reason),
            RuntimeError::Run { reason } => Self::Run(reason),
            other => Self::Start(other.to_string()),
        }
    }
}

/// At most so many characters of what a library or a worker says.
pub(super) fn bounded(words: &str) -> String {
    words.chars().take(MOST_WORDS).collect()
}

/// Writes one frame: its length, four bytes with the lowest first, and the JSON.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&json)?;
    to.flush()
}

/// Reads one frame.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_FRAME {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let mut json = vec![0; length];
    from.read_exact(&mut json)?;
    serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Puts numbers into the shared file, one slice after the other.
pub(super) fn put<'a>(file: &File, slices: impl IntoIterator<Item = &'a [f32]>) -> io::Result<()> {
    let mut at = 0;
    for slice in slices {
        let bytes: &[u8] = bytemuck::cast_slice(slice);
        write_all_at(file, bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Fills `numbers` from the shared file, from its `first` number on.
pub(super) fn get(file: &File, first: usize, numbers: &mut [f32]) -> io::Result<()> {
    read_exact_at(file, bytemuck::cast_slice_mut(numbers), (first * size_of::<f32>()) as u64)
}

/// Numbers per row of outputs of these shapes, each of `rows` rows.
pub(super) fn widths(names: &[String], shapes: &[&[usize]], rows: usize) -> Result<Vec<usize>, RuntimeError> {
    /// Most numbers of one tensor for one image: as in a graph.
    const MOST_ROW: usize = 1 << 28;
    /// Most axes.
    const MOST_AXES: usize = 16;
    let failed = |reason: String| RuntimeError::Run { reason };
    if shapes.len() != names.len() {
        return Err(failed(format!("it gives {} tensors, {} were asked for", shapes.len(), names.len())));
    }
    let width = |(name, shape): (&String, &&[usize])| {
        if shape.len() > MOST_AXES {
            return Err(failed(format!("`{name}` has {} axes", shape.len())));
        }
        if shape.first() != Some(&rows) {
            return Err(failed(format!("`{name}` has shape {shape:?} for {rows} images: it is not one row per image")));
        }
        match shape[1..].iter().try_fold(1usize, |all, size| all.checked_mul(*size)) {
            Some(width) if width <= MOST_ROW => Ok(width),
            _ => Err(failed(format!("`{name}` has shape {shape:?}: more than {MOST_ROW} numbers an image"))),
        }
    };
    names.iter().zip(shapes).map(width).collect()
}

/// Reads the outputs from the shared file, whose shapes were checked.
pub(super) fn outputs(file: &File, shapes: Vec<Vec<usize>>) -> io::Result<Vec<Output>> {
    let mut first = 0;
    let read = |shape: Vec<usize>| {
        let mut values = vec![0.0; shape.iter().product()];
        get(file, first, &mut values)?;
        first += values.len();
        Ok(Output { shape, values })
    };
    shapes.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_there_and_back() {
        let request = Request::Run { session: 3, dims: vec![2, 3, 4] };
        let mut bytes = Vec::new();
        send(&mut bytes, &request).unwrap();
        assert_eq!(receive::<Request>(&mut bytes.as_slice()).unwrap(), request);
        for cut in 0..bytes.len() {
            assert!(receive::<Request>(&mut &bytes[..cut]).is_err());
        }
    }

    #[test]
    fn frames_that_lie_are_refused() {
        let huge = u32::MAX.to_le_bytes();
        assert_eq!(receive::<Reply>(&mut huge.as_slice()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        for json in
            ["", "{", "{\"Ran\":{\"shapes\":[[-1]]}}", "{\"Ran\":{\"shapes\":[[99999999999999999999]]}}", "\"Other\"", &"[".repeat(10_000)]
        {
            let bytes = [&(json.len() as u32).to_le_bytes()[..], json.as_bytes()].concat();
            assert_eq!(receive::<Reply>(&mut bytes.as_slice()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{json}");
        }
    }

    #[test]
    fn shapes_are_bounded_before_anything_is_read() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(widths(&names, &[&[2, 3, 4], &[2]], 2).unwrap(), [12, 1]);
        for (shapes, said) in [
            (&[&[2usize, 3][..]][..], "1 tensors, 2 were asked for"),
            (&[&[2, 3], &[1, 3]], "not one row per image"),
            (&[&[2, 3], &[]], "not one row per image"),
            (&[&[2, 3], &[2, 1 << 29]], "numbers an image"),
            (&[&[2, 3], &[2, usize::MAX, 2]], "numbers an image"),
            (&[&[2, 3], &[2; 17]], "17 axes"),
        ] {
            let error = widths(&names, shapes, 2).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn numbers_that_are_not_there_are_not_made_up() {
        let file = tempfile::tempfile().unwrap();
        put(&file, [&[1.0, 2.0][..], &[3.0]]).unwrap();
        let read = outputs(&file, vec![vec![1, 2], vec![1]]).unwrap();
        assert_eq!(read, [Output { shape: vec![1, 2], values: vec![1.0, 2.0] }, Output { shape: vec![1], values: vec![3.0] }]);
        assert_eq!(outputs(&file, vec![vec![4]]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
