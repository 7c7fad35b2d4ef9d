//! What an encoded image says beside its pixels: whether all of it is there, and which way up it is shown.
//!
//! Decoders put up with a JPEG that ends early and fill in grey; Pillow refuses it, and so is it here. Orientations are read as
//! Pillow's `getexif` and `exif_transpose` do: EXIF first, XMP where EXIF says nothing, nonsense ignored.

use std::borrow::Cow;
use std::io::Read;

use image::ImageFormat;
use image::metadata::Orientation;

/// Most bytes of a compressed text inside a PNG, as in Pillow.
const MOST_TEXT: u64 = 1 << 20;
/// The tag of an orientation in EXIF and TIFF.
const TAG: u16 = 0x112;

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Notes<'a> {
    /// A TIFF directory, with or without `Exif\0\0` before it.
    exif: Option<Cow<'a, [u8]>>,
    /// An XML packet.
    xmp: Option<Cow<'a, [u8]>>,
}

/// The notes of a file, or nothing where it is cut off in a way that decoders put up with.
pub(super) fn read(format: ImageFormat, bytes: &[u8]) -> Option<Notes<'_>> {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Gif => gif(bytes).map(|()| Notes::default()),
        // A TIFF is what EXIF is made of.
        ImageFormat::Tiff => Some(Notes { exif: Some(bytes.into()), xmp: None }),
        _ => Some(Notes::default()),
    }
}

impl Notes<'_> {
    /// How the stored pixels are turned to be shown upright.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().map(|exif| directory(strip(exif)));
        let value = match exif {
            // Pillow does not go on where the directory is none.
            Some(Err(NoDirectory)) => None,
            Some(Ok(Some(value))) => Some(value),
            Some(Ok(None)) | None => self.xmp.as_deref().and_then(packet),
        };
        value.and_then(|value| u8::try_from(value).ok()).and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }
}

/// Walks from marker to marker as libjpeg does, to the end of the image.
fn jpeg(bytes: &[u8]) -> Option<Notes<'_>> {
    let mut notes = Notes::default();
    let (mut at, mut scans) = (2, false);
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)? + 1;
        match bytes.get(at)? {
            // Filling before a marker.
            0xff => {}
            // A byte of data that looks like a marker, and markers without a segment.
            0x00 | 0x01 | 0xd0..=0xd7 => at += 1,
            // A second image begins where this one should end.
            0xd8 => return None,
            0xd9 => return scans.then_some(notes),
            marker => {
                let length = usize::from(u16::from_be_bytes(*bytes.get(at + 1..)?.first_chunk()?));
                let segment = bytes.get(at + 3..at + 1 + length.max(2))?;
                match marker {
                    0xda => scans = true,
                    0xe1 if !scans && segment.starts_with(b"Exif\0\0") => match &mut notes.exif {
                        // One directory may be spread over several segments.
                        Some(exif) => exif.to_mut().extend_from_slice(segment.get(6..)?),
                        none => *none = Some(segment.into()),
                    },
                    0xe1 if !scans => {
                        if let Some(xmp) = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                            notes.xmp = Some(xmp.into());
                        }
                    }
                    _ => {}
                }
                at += 1 + length.max(2);
            }
        }
    }
}

/// Chunks before and after the pixels: programs write notes to either place.
fn png(bytes: &[u8]) -> Option<Notes<'_>> {
    let mut notes = Notes::default();
    let (mut profile, mut pixels) = (None, false);
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((kind, after)) = after.split_first_chunk::<4>()
    {
        // The next image of an animation, which nobody looks at.
        if pixels && kind == b"fcTL" {
            break;
        }
        let Some((data, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            // The decoder knows whether enough of the pixels is there.
            if kind == b"IDAT" {
                break;
            }
            return None;
        };
        match kind {
            b"IDAT" => pixels = true,
            b"eXIf" => notes.exif = Some(data.into()),
            b"tEXt" | b"zTXt" | b"iTXt" => match text(*kind, data) {
                Some((b"Raw profile type exif", text)) => profile = unhex(&text),
                Some((b"XML:com.adobe.xmp", text)) => notes.xmp = Some(text),
                _ => {}
            },
            b"IEND" => break,
            _ => {}
        }
        // The checksum.
        rest = after.get(4..).unwrap_or_default();
    }
    notes.exif = notes.exif.or(profile.map(Cow::Owned));
    Some(notes)
}

/// The keyword and the text of a PNG's text chunk.
fn text(kind: [u8; 4], data: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let (keyword, rest) = until_zero(data)?;
    let (packed, text) = match &kind {
        b"tEXt" => (false, rest),
        // The method: there is one.
        b"zTXt" => (true, rest.get(1..)?),
        _ => {
            let (_language, after) = until_zero(rest.get(2..)?)?;
            (rest.first() == Some(&1), until_zero(after)?.1)
        }
    };
    if !packed {
        return Some((keyword, text.into()));
    }
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(text).take(MOST_TEXT).read_to_end(&mut plain).ok()?;
    Some((keyword, plain.into()))
}

fn until_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// `ImageMagick`'s way to keep EXIF: a name and a length on lines of their own, then hexadecimal digits.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.split(|byte| *byte == b'\n').skip(3).flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}

fn webp(bytes: &[u8]) -> Option<Notes<'_>> {
    let mut notes = Notes::default();
    let size = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    // `RIFF` and the size itself are not counted.
    bytes.get(8..)?.get(..size)?;
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((kind, after)) = rest.split_first_chunk::<4>()
        && let Some((length, after)) = after.split_first_chunk::<4>()
        && let Some((data, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        match kind {
            b"EXIF" => notes.exif = Some(data.into()),
            b"XMP " => notes.xmp = Some(data.into()),
            _ => {}
        }
        // Chunks begin at even places.
        rest = after.get(data.len() % 2..).unwrap_or_default();
    }
    Some(notes)
}

/// Whether the pieces of the first image are all there: the decoder is content with a part of the last one.
fn gif(bytes: &[u8]) -> Option<()> {
    let table = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        let image = match bytes.get(at)? {
            0x21 => false,
            0x2c => true,
            // The decoder knows what is wrong.
            _ => return Some(()),
        };
        at += if image { 11 + table(*bytes.get(at + 9)?) } else { 2 };
        loop {
            match bytes.get(at) {
                // Only the end of the pieces is missing.
                None if image => return Some(()),
                None => return None,
                Some(0) => break,
                Some(size) => at += 1 + usize::from(*size),
            }
            bytes.get(..at)?;
        }
        if image {
            return Some(());
        }
        at += 1;
    }
}

fn strip(exif: &[u8]) -> &[u8] {
    let once = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    once.strip_prefix(b"Exif\0\0").unwrap_or(once)
}

/// What should be a TIFF directory is none.
struct NoDirectory;

/// The orientation in the first directory of a TIFF, if it has one: a number of any kind that Pillow would compare with 1 to 8.
fn directory(bytes: &[u8]) -> Result<Option<u32>, NoDirectory> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (Some(head), Some(start)) = (bytes.first_chunk::<4>(), bytes.get(4..).and_then(<[u8]>::first_chunk::<4>)) else {
        return Err(NoDirectory);
    };
    let little = match head {
        b"II\x2a\0" | b"II\0\x2a" => true,
        b"MM\0\x2a" | b"MM\x2a\0" => false,
        _ => return Err(NoDirectory),
    };
    let short = |b: [u8; 2]| if little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) };
    let long = |b: [u8; 4]| if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) };
    let rest = usize::try_from(long(*start)).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let Some((count, entries)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    // A directory that is cut off ends early; an entry of a kind that is not known does not count.
    for entry in entries.chunks_exact(12).take(usize::from(short(*count))) {
        let [t0, t1, k0, k1, c0, c1, c2, c3, v0, v1, v2, v3] = *entry else { continue };
        if short([t0, t1]) != TAG {
            continue;
        }
        match (short([k0, k1]), long([c0, c1, c2, c3])) {
            // Of several values the first.
            (3 | 8, 1..=2) => return Ok(Some(u32::from(short([v0, v1])))),
            (4 | 9 | 13, 1) => return Ok(Some(long([v0, v1, v2, v3]))),
            // There is an orientation, and it is no number from 1 to 8.
            (1 | 2 | 6 | 7, 1..=4) => return Ok(Some(0)),
            _ => {}
        }
    }
    Ok(None)
}

/// The orientation in an XMP packet, as an attribute or an element.
fn packet(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut places = xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let value = |(at, _): (usize, &[u8])| {
        let after = xmp.get(at + NAME.len()..)?;
        let digit = after.strip_prefix(b"=\"").or_else(|| after.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| u32::from(digit - b'0'))
    };
    places.find_map(value)
}
