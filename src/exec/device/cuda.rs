//! An NVIDIA card, tried before anything rests on it.

use candle_core::cuda::{cudarc::driver::CudaContext, set_gemm_reduced_precision_f32};
use candle_core::{DType, Device, Tensor};

use super::{Choice, Compute, DeviceError, Precision, libraries};

pub(super) fn open(ordinal: usize, precision: Precision) -> Result<Compute, DeviceError> {
    libraries::open().map_err(|reason| DeviceError::Library { reason })?;
    // cuDNN's own default for f32 is TF32, and candle has no switch for it: only the library's variable turns it off.
    let forced_off = std::env::var_os("NVIDIA_TF32_OVERRIDE").is_some_and(|value| value == "0");
    let count = CudaContext::device_count().map_err(|error| DeviceError::NoDevice { ordinal, reason: plain(&error.to_string()).0 })?;
    if usize::try_from(count).is_ok_and(|count| ordinal >= count) {
        let reason = format!("the driver knows {}", if count == 0 { "no card".into() } else { format!("only {count}") });
        return Err(DeviceError::NoDevice { ordinal, reason });
    }
    if cfg!(feature = "cudnn") && precision == Precision::F32 && !forced_off {
        return Err(DeviceError::CudnnTf32);
    }
    let broken = |error: &dyn std::fmt::Display| {
        let (reason, advice) = plain(&error.to_string());
        DeviceError::Broken { ordinal, reason, advice }
    };
    // One stream for all threads: tensors may be made on one thread and read on another.
    let device = Device::new_cuda_with_stream(ordinal).map_err(|e| broken(&e))?;
    let context = device.as_cuda_device().map_err(|e| broken(&e))?.cuda_stream().context().clone();
    let name = format!("cuda {}", context.name().map_err(|e| broken(&e))?);
    let (generation, _) = context.compute_capability().map_err(|e| broken(&e))?;
    if generation < 8 && precision != Precision::F32 {
        return Err(DeviceError::Precision { precision, device: name });
    }
    attempt(&device).map_err(|e| broken(&e))?;
    set_gemm_reduced_precision_f32(precision == Precision::Tf32);
    Ok(Compute { device, precision, name, note: None, card: Some(ordinal), choice: Choice::Cuda(ordinal) })
}

/// One kernel of candle's and one product of cuBLAS's: whether this driver takes kernels of this build, and whether there is any memory.
fn attempt(device: &Device) -> candle_core::Result<()> {
    let ones = Tensor::ones((16, 16), DType::F32, device)?;
    let found = ones.matmul(&ones)?.affine(1.0, 1.0)?.sum_all()?.to_scalar::<f32>()?;
    if (found - 16.0 * 16.0 * 17.0).abs() > 1e-2 {
        candle_core::bail!("a sum of 4352 came back as {found}");
    }
    Ok(())
}

const FREE_MEMORY: &str = "`nvidia-smi` shows who uses the card and how much memory is free; --device cpu computes without it";
const UPDATE: &str =
    "update NVIDIA's driver: `nvidia-smi` shows its version, and the newest CUDA that it runs; --device cpu computes without it";
const REBUILD: &str = "build heirloom anew with CUDA_COMPUTE_CAP of this card (docs/cuda.md); --device cpu computes without it";
const LOOK: &str = "`nvidia-smi` shows whether the driver works and the card is free; --device cpu computes without it";

/// What the driver says, in plain words where its names are known, and what can be done about it.
fn plain(reason: &str) -> (String, &'static str) {
    const WORDS: &[(&str, &str, &str)] = &[
        ("OUT_OF_MEMORY", "its memory is full", FREE_MEMORY),
        ("ALLOC_FAILED", "its memory is full", FREE_MEMORY),
        ("UNSUPPORTED_PTX_VERSION", "the driver is too old for the CUDA version that this heirloom was built with", UPDATE),
        ("INSUFFICIENT_DRIVER", "the driver is too old for the CUDA libraries found here", UPDATE),
        (
            "SYSTEM_DRIVER_MISMATCH",
            "the driver's kernel module and its library are of different versions",
            "restart the machine, so that both are loaded anew",
        ),
        ("INVALID_PTX", "this heirloom was built for a newer kind of card (CUDA_COMPUTE_CAP)", REBUILD),
        ("NO_BINARY_FOR_GPU", "this heirloom was built for a newer kind of card (CUDA_COMPUTE_CAP)", REBUILD),
        ("COMPUTE_CAPABILITY", "this heirloom was built for a newer kind of card (CUDA_COMPUTE_CAP)", REBUILD),
        ("CUDA_ERROR_NO_DEVICE", "the driver knows no card", LOOK),
    ];
    let first = reason.lines().next().unwrap_or(reason);
    match WORDS.iter().find(|(name, ..)| reason.contains(name)) {
        Some((_, words, advice)) => (format!("{words} ({first})"), advice),
        None => (first.to_owned(), LOOK),
    }
}

#[cfg(test)]
mod tests {
    use super::{FREE_MEMORY, LOOK, UPDATE, plain};

    #[test]
    fn names_of_the_driver_are_said_in_words() {
        let full = plain("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")\nbacktrace");
        assert_eq!(full, ("its memory is full (DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\"))".into(), FREE_MEMORY));
        let (old, advice) = plain("CUDA_ERROR_UNSUPPORTED_PTX_VERSION");
        assert!(old.starts_with("the driver is too old"));
        assert_eq!(advice, UPDATE);
        assert_eq!(plain("something else"), ("something else".into(), LOOK));
    }
}
