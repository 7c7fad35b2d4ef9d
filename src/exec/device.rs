//! Where a network is computed, and in what numbers.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod libraries;

use std::fmt;
use std::str::FromStr;

use crate::diag::{Class, Explain};
use candle_core::{DType, Device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A device as it is asked for.
///
/// The CPU is the default, also where there is a card: a verdict must not change with the machine that a pipeline happens to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The CPU.
    #[default]
    Cpu,
    /// The first card where there is one that can be used, else the CPU.
    Auto,
    /// An NVIDIA card by its number.
    Cuda(usize),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Auto => write!(f, "auto"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u16>().map(|ordinal| Self::Cuda(ordinal.into())).ok();
        match text {
            "cpu" => Some(Self::Cpu),
            "auto" => Some(Self::Auto),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(number),
        }
        .ok_or_else(|| "there are `cpu`, `auto`, `cuda` and `cuda:N`".into())
    }
}

/// The numbers that products are computed with. Weights, statistics, loss and optimizer are f32 in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Factors rounded to 10 bits of mantissa; sums in f32.
    Tf32,
    /// Activations, and weights where they are multiplied with, in bfloat16; sums in f32.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Tf32, Self::Bf16];
        all.into_iter().find(|precision| precision.to_string() == text).ok_or_else(|| "there are `f32`, `tf32` and `bf16`".into())
    }
}

/// A device that was found, and the precision to compute in.
#[derive(Clone, Debug)]
pub struct Compute {
    device: Device,
    precision: Precision,
    name: String,
    note: Option<String>,
    /// The card's number.
    card: Option<usize>,
    /// As it was asked for.
    choice: Choice,
}

impl Default for Compute {
    fn default() -> Self {
        Self::cpu()
    }
}

impl Compute {
    /// The CPU, in single precision.
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, precision: Precision::F32, name: "cpu".into(), note: None, card: None, choice: Choice::Cpu }
    }

    /// Finds a device. Only [`Choice::Auto`] falls back to the CPU, and says so in [`Compute::note`].
    pub fn open(choice: Choice, precision: Precision) -> Result<Self, DeviceError> {
        let found = match choice {
            Choice::Cpu => Self::cpu(),
            Choice::Cuda(ordinal) => cuda::open(ordinal, precision)?,
            Choice::Auto => match cuda::open(0, precision) {
                Ok(found) => found,
                Err(error @ (DeviceError::NoCuda | DeviceError::Library { .. } | DeviceError::NoDevice { .. })) => {
                    Self { note: Some(format!("--device auto: computed on the CPU, because {}", error.reason())), ..Self::cpu() }
                }
                Err(error) => return Err(error),
            },
        };
        if found.device.is_cpu() && precision != Precision::F32 {
            return Err(DeviceError::Precision { precision, device: found.name });
        }
        Ok(Self { precision, choice, ..found })
    }

    /// Whether it is the processor.
    pub(crate) fn is_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    /// The number of the card, where it is one.
    pub fn card(&self) -> Option<usize> {
        self.card
    }

    /// Whether what a card cannot do may be done by the processor.
    pub(crate) fn falls_back(&self) -> bool {
        self.choice == Choice::Auto
    }

    /// Its name: `cpu`, or that of a card (`cuda NVIDIA H100 80GB HBM3`); the same card in another slot computes the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The numbers that products are computed with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What a reader of the report must know about the choice.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// All that makes other bits: equal keys on equal builds give equal numbers.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.name, self.precision)
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn activations(&self) -> DType {
        if self.precision == Precision::Bf16 { DType::BF16 } else { DType::F32 }
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Compute, DeviceError, Precision};

    pub(super) fn open(_: usize, _: Precision) -> Result<Compute, DeviceError> {
        Err(DeviceError::NoCuda)
    }
}

/// Why there is no such device. None of these runs anything.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Built without CUDA.
    #[error("this build of heirloom computes on the CPU only")]
    NoCuda,
    /// A library that computing on a card takes is not here, or too old.
    #[error("no CUDA device can be used here: {reason}")]
    Library {
        /// Which, and what the system says.
        reason: String,
    },
    /// No card, or none of that number.
    #[error("there is no CUDA device {ordinal} here: {reason}")]
    NoDevice {
        /// As asked for.
        ordinal: usize,
        /// What the driver says.
        reason: String,
    },
    /// There is one, and it cannot be used.
    #[error("CUDA device {ordinal} cannot be used: {reason}")]
    Broken {
        /// As asked for.
        ordinal: usize,
        /// What the driver says.
        reason: String,
        /// What can be done about it.
        advice: &'static str,
    },
    /// Not in this precision.
    #[error("{device} does not compute in {precision}")]
    Precision {
        /// As asked for.
        precision: Precision,
        /// Its name.
        device: String,
    },
    /// cuDNN would round without being asked to.
    #[error("this build uses cuDNN, which computes f32 convolutions in TF32 unless NVIDIA_TF32_OVERRIDE=0 is set")]
    CudnnTf32,
}

impl Explain for DeviceError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::NoCuda => {
                "--device cpu computes here; for NVIDIA cards build it with `cargo install --path . --features cuda` (docs/cuda.md)"
            }
            Self::Library { .. } => {
                "install NVIDIA's driver, and CUDA's libraries where LD_LIBRARY_PATH finds them (docs/cuda.md); --device cpu computes without"
            }
            Self::NoDevice { .. } => "`nvidia-smi` lists the cards that the driver sees; --device auto takes the CPU where there is none",
            Self::Broken { advice, .. } => advice,
            Self::Precision { .. } => {
                "leave --precision out for f32; tf32 and bf16 need an NVIDIA card of compute capability 8.0 (2020) or later"
            }
            Self::CudnnTf32 => "set NVIDIA_TF32_OVERRIDE=0, or ask for TF32 with --precision tf32",
        })
    }
}

impl DeviceError {
    fn reason(&self) -> String {
        match self {
            Self::NoCuda => "this build knows no CUDA".into(),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Compute, DeviceError, Precision};

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, choice) in [("cpu", Choice::Cpu), ("auto", Choice::Auto), ("cuda", Choice::Cuda(0)), ("cuda:3", Choice::Cuda(3))] {
            assert_eq!(text.parse(), Ok(choice));
        }
        for text in ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999999999999", "CPU"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_cpu_computes_in_single_precision_only() {
        assert!(Compute::open(Choice::Cpu, Precision::F32).unwrap().note().is_none());
        for precision in [Precision::Bf16, Precision::Tf32] {
            assert!(matches!(Compute::open(Choice::Cpu, precision), Err(DeviceError::Precision { .. })));
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn only_auto_falls_back_and_says_so() {
        assert!(matches!(Compute::open(Choice::Cuda(0), Precision::F32), Err(DeviceError::NoCuda)));
        let found = Compute::open(Choice::Auto, Precision::F32).unwrap();
        assert_eq!((found.name(), found.note().is_some()), ("cpu", true));
        assert!(Compute::open(Choice::Auto, Precision::Bf16).is_err());
    }

    #[test]
    fn keys_tell_cards_and_precisions_apart() {
        let card = |name: &str, precision| Compute { name: name.into(), precision, ..Compute::cpu() }.key();
        assert_ne!(card("cuda NVIDIA H100", Precision::F32), card("cuda NVIDIA H100", Precision::Bf16));
        assert_ne!(card("cuda NVIDIA H100", Precision::F32), card("cuda NVIDIA A100", Precision::F32));
        assert_eq!(Compute::cpu().key(), "cpu f32");
    }
}
