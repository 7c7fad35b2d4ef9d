//! How the training of a fine-tune went.

use std::time::SystemTime;

use crate::tune::Epoch;

/// How a fine-tune was trained, epoch by epoch.
pub(in crate::engine) struct Course {
    /// When training began.
    pub started: SystemTime,
    /// What each epoch came to.
    pub epochs: Vec<Epoch>,
    /// When each ended.
    pub ended: Vec<SystemTime>,
}

/// Notes when each step of training ended: for people who look at curves, nothing is decided by it.
pub(in crate::engine) struct Clock {
    started: SystemTime,
    steps: Vec<SystemTime>,
}

impl Clock {
    pub(in crate::engine) fn start() -> Self {
        Self { started: SystemTime::now(), steps: Vec::new() }
    }

    /// A step has ended.
    pub(in crate::engine) fn step(&mut self) {
        self.steps.push(SystemTime::now());
    }

    /// The course of these epochs, each of as many steps.
    pub(in crate::engine) fn of(self, epochs: Vec<Epoch>) -> Course {
        let each = (self.steps.len() / epochs.len().max(1)).max(1);
        let ended = self.steps.chunks(each).filter_map(|steps| steps.last().copied()).collect();
        Course { started: self.started, epochs, ended }
    }
}
