//! NVIDIA's libraries, opened when a card is asked for and not when the program starts.
//!
//! candle links the driver, cuBLAS and cuRAND (and cuBLASLt and NVRTC, which nothing here reaches) by name: a program built that way is
//! ended by the system's loader, with a code of its own, where one of them is missing. So each of their functions that the program reaches is
//! defined here, as a jump through a slot that [`open`] fills. The linker then finds nothing that the libraries themselves would be needed for, and leaves their names out of
//! the program. Which functions these are, the linker says: `.ci/cuda-build` fails where one is missing here.
#![allow(unsafe_code)] // opening a library, and handing its functions on without knowing what they take

use std::error::Error;
use std::ffi::{CString, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

/// Answers for a function that was not found, with a number that the library's own functions return for an error.
macro_rules! unavailable {
    ($name:ident, $status:literal) => {
        extern "C" fn $name() -> c_int {
            $status
        }
    };
}
unavailable!(no_driver, 34); // CUDA_ERROR_STUB_LIBRARY
unavailable!(no_cublas, 1); // CUBLAS_STATUS_NOT_INITIALIZED
unavailable!(no_curand, 101); // CURAND_STATUS_NOT_INITIALIZED
unavailable!(no_runtime, 1); // cudaErrorInvalidValue; called before `main`: see below

/// A function, and where its address is put.
type Slot = (&'static str, &'static AtomicPtr<c_void>);

macro_rules! functions {
    ($($list:ident, $default:ident: $($name:ident)*;)*) => {
        $($(
            #[allow(non_snake_case)]
            mod $name {
                use super::{AtomicPtr, c_void};
                pub(super) static SLOT: AtomicPtr<c_void> = AtomicPtr::new(super::$default as extern "C" fn() -> i32 as *mut c_void);
                std::arch::global_asm!(
                    concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
                    concat!(".globl ", stringify!($name)),
                    concat!(".type ", stringify!($name), ", @function"),
                    concat!(stringify!($name), ":"),
                    "jmp qword ptr [rip + {slot}]",
                    ".popsection",
                    slot = sym SLOT,
                );
            }
        )*
        static $list: &[Slot] = &[$((stringify!($name), &$name::SLOT)),*];
        )*
    };
}

functions! {
    DRIVER, no_driver:
        cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize cuDeviceGet cuDeviceGetAttribute
        cuDeviceGetCount cuDeviceGetName cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain cuEventCreate
        cuEventDestroy_v2 cuEventRecord cuGetErrorString cuInit cuLaunchKernel cuMemAllocAsync cuMemAlloc_v2
        cuMemFreeAsync cuMemFree_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync
        cuMemsetD8Async cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload cuStreamCreate
        cuStreamDestroy_v2 cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent;
    CUBLAS, no_cublas:
        cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx cublasSetStream_v2;
    CURAND, no_curand:
        curandCreateGenerator curandDestroyGenerator curandSetPseudoRandomGeneratorSeed curandSetStream;
    // The kernels that candle compiles into the program, all for quantised weights, register themselves before `main`. None of them is
    // ever called from here, so that these never reach a library.
    RUNTIME, no_runtime:
        __cudaGetKernel __cudaLaunchKernel_ptsz __cudaPopCallConfiguration __cudaPushCallConfiguration
        __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaRegisterVar
        __cudaUnregisterFatBinary cudaFuncSetAttribute cudaGetDevice;
}

/// What each is called, newest first: their functions used here are the same in CUDA 12 and 13.
const LIBRARIES: &[(&str, &[&str], &[Slot])] = &[
    ("NVIDIA's driver", &["libcuda.so.1"], DRIVER),
    ("cuBLAS", &["libcublas.so.13", "libcublas.so.12"], CUBLAS),
    ("cuRAND", &["libcurand.so.10"], CURAND),
];

/// Opens all of them, once. The error says in one line which is not here, or which is too old.
pub(super) fn open() -> Result<(), String> {
    static OPENED: Mutex<bool> = Mutex::new(false);
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if *opened {
        return Ok(());
    }
    for (what, names, slots) in LIBRARIES {
        let library = find(what, names)?;
        for (function, slot) in *slots {
            slot.store(
                address(&library, function).ok_or_else(|| format!("{what} ({}) is too old: it has no `{function}`", names[0]))?,
                Ordering::Release,
            );
        }
        // Its functions are called until the program ends.
        std::mem::forget(library);
    }
    debug_assert!(RUNTIME.iter().all(|(name, _)| name.starts_with("__cuda") || name.starts_with("cuda")));
    *opened = true;
    Ok(())
}

fn find(what: &str, names: &[&str]) -> Result<Library, String> {
    let mut reason = String::new();
    for name in names {
        // SAFETY: loading runs a library's initialisers. These are NVIDIA's, from where the system or the user keeps libraries.
        match unsafe { Library::new(*name) } {
            Ok(library) => return Ok(library),
            // What the system's loader says is the cause of the error.
            Err(error) if reason.is_empty() => reason = error.source().map_or_else(|| error.to_string(), ToString::to_string),
            Err(_) => {}
        }
    }
    Err(format!("{what} is not here: {reason}"))
}

fn address(library: &Library, function: &str) -> Option<*mut c_void> {
    let name = CString::new(function).ok()?;
    // SAFETY: nothing is called through this type; the jump passes on whatever the caller, who knows the real one, has put into place.
    let symbol = unsafe { library.get::<*mut c_void>(name.as_bytes_with_nul()) }.ok()?;
    (!symbol.is_null()).then_some(*symbol)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_library_that_is_not_here_is_named() {
        let error = find("cuBLAS", &["libheirloom-absent.so.13", "libheirloom-absent.so.12"]).map(drop).unwrap_err();
        assert!(error.starts_with("cuBLAS is not here: libheirloom-absent.so.13: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
