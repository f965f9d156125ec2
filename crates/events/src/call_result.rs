//! How the system call of an access ended.

/// How the system call ended in which an access was made. An event does not say that: the program runs before the knob's handler,
/// which may reject a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It made this one access, and returned this value: how many bytes were read or written, or a negative errno.
    Returned(i64),
    /// Nobody knows.
    Unknown(UnknownResult),
}

/// Why nobody knows how a system call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownResult {
    /// System calls were not traced, or the event does not name its thread.
    #[error("system calls were not traced")]
    NotTraced,
    /// The system call made several accesses, as sendfile(2) may.
    #[error("its system call made several accesses")]
    SeveralAccesses,
    /// No return was seen: the thread was killed, is still in the system call, or works for io_uring; or a record was lost.
    #[error("no return of its system call was seen, as with io_uring")]
    NotSeen,
}
