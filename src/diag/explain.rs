//! What errors say beside their message: what kind of end they are, and what to do.

use std::error::Error;

use super::Diagnostic;

/// What kind of end an error is; [`crate::gate::ExitCode`] has a code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was asked for cannot be had: the command line or a file that somebody wrote is to be changed.
    Usage,
    /// Something is broken or does not work here.
    Fault,
    /// The user ended it.
    Stopped,
}

/// The mistakes of a file that somebody wrote.
#[derive(Clone, Copy, Debug)]
pub struct Mistakes<'a> {
    /// The text.
    pub text: &'a str,
    /// Where it came from.
    pub name: &'a str,
    /// What is wrong with it, in the order of the text.
    pub diagnostics: &'a [Diagnostic],
}

/// An error that a command may end with. What it does not say itself is said by the error that it passes on.
pub trait Explain: Error {
    /// The error that it passes on, where it is no more than that error in another place.
    fn inner(&self) -> Option<&dyn Explain> {
        None
    }

    /// What kind of end it is.
    fn class(&self) -> Class {
        self.inner().map_or(Class::Fault, Explain::class)
    }

    /// What to do about it, where the message does not say.
    fn hint(&self) -> Option<&str> {
        self.inner().and_then(Explain::hint)
    }

    /// The mistakes that it is made of, where these are shown in place of a message.
    fn mistakes(&self) -> Option<Mistakes<'_>> {
        self.inner().and_then(Explain::mistakes)
    }
}
