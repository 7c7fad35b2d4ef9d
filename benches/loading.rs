//! Images a second from a folder of JPEGs to network input: `cargo bench --bench loading -- FOLDER SIDE BATCH [disk]`.
//!
//! Every image once: read, decoded, resized, cropped, normalised, in batches. With `disk`, as if there were no memory for them. Prints one
//! JSON object. `loading.py` runs it in turn with a PyTorch `DataLoader`.

mod memory;

use std::path::Path;
use std::time::Instant;

use heirloom::data::{self, DataSpec};
use heirloom::model::{ChannelOrder, InputSpec, Layout, Preprocessing};
use heirloom::store::MemoryBudget;
use heirloom::transform::geometry::Geometry;
use heirloom::tune::{Feed, Images};

#[allow(unsafe_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As in the program, see there.
    // SAFETY: this sets a number in the allocator's table of options, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [folder, side, batch, rest @ ..] = arguments.as_slice() else { return Err("FOLDER SIDE BATCH [disk]".into()) };
    let (side, batch): (usize, usize) = (side.parse()?, batch.parse()?);
    let budget = if rest.is_empty() { MemoryBudget::boundless() } else { MemoryBudget::new(0, std::env::temp_dir()) };
    let preprocessing =
        Preprocessing { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], order: ChannelOrder::Rgb, from: "ImageNet".into() };
    let (geometry, geometry_from) = (Geometry::default(), String::new());
    let input = InputSpec {
        channels: 3,
        height: side,
        width: side,
        layout: Layout::Nchw,
        preprocessing,
        geometry,
        geometry_from,
        overruled: Vec::new(),
    };
    // As a certification opens its target task; a folder without splits of its own needs a share that measures.
    let target = data::Target {
        accuracy: data::Counted::default(),
        data: DataSpec::Folder(folder.into()),
        label: None,
        classes: None,
        train: data::ViewSpec::default(),
        test: data::ViewSpec::default(),
        test_share: Some(0.1),
        train_per_class: None,
        cluster: None,
        attributes: None,
        broken: 0.0,
        overlap: 0.0,
        orientation: None,
    };
    let clock = Instant::now();
    let data = data::open_fitted(&target, Path::new("."), 0, &input.fit(&budget))?;
    let opened = clock.elapsed().as_secs_f64();
    let mut seen = 0;
    for view in [&data.train, &data.test] {
        let images = Images::open(view, &input, &budget)?;
        let indices: Vec<usize> = (0..images.len()).collect();
        for batch in indices.chunks(batch) {
            seen += images.plain().batch(batch, None)?.dim(0)?;
        }
    }
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "{{\"rate\": {:.1}, \"open_seconds\": {opened:.2}, \"batch_seconds\": {:.2}, \"mib\": {}, \"threads\": {}}}",
        f64::from(u32::try_from(seen)?) / seconds,
        seconds - opened,
        memory::peak(),
        rayon::current_num_threads()
    );
    Ok(())
}

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
