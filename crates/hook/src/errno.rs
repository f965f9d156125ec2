//! Error numbers, as system calls return them.

use std::fmt;

/// An error number of Linux (`asm-generic/errno-base.h`, `asm-generic/errno.h`), positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $number:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`, ", stringify!($number), ".")] pub const $name: Self = Self($number);)*

            /// Its name, where it is one that the model itself returns.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1;
    ENOENT = 2;
    ESRCH = 3;
    EIO = 5;
    E2BIG = 7;
    EBADF = 9;
    ENOMEM = 12;
    EACCES = 13;
    EBUSY = 16;
    EEXIST = 17;
    ENOTDIR = 20;
    EISDIR = 21;
    EINVAL = 22;
    ENOSPC = 28;
    EROFS = 30;
    ERANGE = 34;
    ENOLINK = 67;
    EOVERFLOW = 75;
    EOPNOTSUPP = 95;
    ESTALE = 116;
}

impl Errno {
    /// What a system call returns for it: its negative.
    pub const fn returned(self) -> i64 {
        -(self.0 as i64)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}
