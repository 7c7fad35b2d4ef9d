//! The next batch is made while the present one is computed.

use std::sync::mpsc::sync_channel;

use super::{Feed, Training, TuneError};
use candle_core::Tensor;

/// Makes the inputs of batches in their order, and hands each over; while it is used, the next is made. Where making them takes no time
/// worth mentioning there is no second thread. What is drawn from the stream of `training` does not depend on it.
pub(super) fn each<'a>(
    feed: &dyn Feed,
    batches: impl Iterator<Item = &'a [usize]> + Send,
    mut training: Option<Training<'_>>,
    handle: &mut dyn FnMut(&'a [usize], Tensor) -> Result<(), TuneError>,
) -> Result<(), TuneError> {
    let mut make = move |batch: &[usize]| {
        let training = training.as_mut().map(|Training { augment, stream, side }| Training { augment, stream, side: *side });
        feed.batch(batch, training)
    };
    if !feed.is_slow() {
        for batch in batches {
            handle(batch, make(batch)?)?;
        }
        return Ok(());
    }
    std::thread::scope(|scope| {
        // Without a queue: the maker holds one batch, and waits for it to be taken.
        let (sender, receiver) = sync_channel(0);
        scope.spawn(move || {
            for batch in batches {
                // Nobody takes it after an error on the other side.
                if sender.send((batch, make(batch))).is_err() {
                    return;
                }
            }
        });
        for (batch, made) in receiver {
            handle(batch, made?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tune::Augment;

    struct Numbers {
        slow: bool,
    }

    impl Feed for Numbers {
        fn len(&self) -> usize {
            10
        }

        fn is_slow(&self) -> bool {
            self.slow
        }

        fn batch(&self, indices: &[usize], training: Option<Training<'_>>) -> Result<Tensor, TuneError> {
            let drawn = training.map_or(0.0, |training| rand::RngExt::random::<f64>(training.stream));
            if indices.contains(&9) {
                return Err(TuneError::Empty { images: 9 });
            }
            let values: Vec<f64> = indices.iter().map(|i| *i as f64 + drawn).collect();
            Ok(Tensor::from_vec(values, indices.len(), &Device::Cpu).map_err(crate::exec::ExecError::from)?)
        }
    }

    fn seen(slow: bool, batches: &[usize], stop_at: usize) -> (Vec<Vec<f64>>, Option<String>) {
        let mut rng = crate::stats::stream::stream(3, 0, "test");
        let mut all = Vec::new();
        let training = Training { augment: &Augment::default(), stream: &mut rng, side: None };
        let result = each(&Numbers { slow }, batches.chunks(2), Some(training), &mut |_, input| {
            if all.len() == stop_at {
                return Err(TuneError::Stopped);
            }
            all.push(input.to_vec1().map_err(crate::exec::ExecError::from)?);
            Ok(())
        });
        (all, result.err().map(|e| e.to_string()))
    }

    #[test]
    fn a_second_thread_changes_nothing() {
        for (batches, stop_at) in [(&[0, 1, 2, 3, 4][..], 9), (&[0, 1, 2, 3, 4], 1), (&[0, 1, 9, 3, 4, 5], 9), (&[], 9)] {
            let (one, two) = (seen(false, batches, stop_at), seen(true, batches, stop_at));
            assert_eq!(one, two);
            assert_eq!(one.1.is_some(), stop_at == 1 || batches.contains(&9));
        }
    }
}
