//! Rates of findings, for the tables and for what is safe.

use crate::gate::Finding;
use crate::probe::Arm;

/// A rate of an arm.
pub(super) fn rate(finding: &Finding, arm: Arm, name: &str) -> Option<f64> {
    finding.arms.iter().find(|summary| summary.arm == arm)?.rates.get(name).copied()
}
