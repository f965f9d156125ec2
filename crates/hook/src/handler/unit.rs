//! The unit of the numbers in a vector of int: none, or a time that the kernel stores in jiffies (kernel/time/time.c).

use super::number::Number;
use crate::{Errno, Profile};

/// The kernel's timer frequency (`CONFIG_HZ`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hz {
    /// 100 Hz.
    H100,
    /// 250 Hz.
    H250,
    /// 1000 Hz.
    H1000,
}

/// `USER_HZ`: user space ticks per second.
const USER_HZ: u64 = 100;

impl Hz {
    /// Ticks per second.
    pub const fn per_second(self) -> u32 {
        match self {
            Self::H100 => 100,
            Self::H250 => 250,
            Self::H1000 => 1000,
        }
    }
}

/// The unit of a number that is read or written. The kernel stores an int.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// None: the int itself (`do_proc_dointvec_conv`).
    #[default]
    One,
    /// Seconds, stored in jiffies (`proc_dointvec_jiffies`).
    Seconds(Hz),
    /// Milliseconds, stored in jiffies (`proc_dointvec_ms_jiffies`).
    Milliseconds(Hz),
    /// Hundredths of a second, stored in jiffies (`proc_dointvec_userhz_jiffies`).
    UserTicks(Hz),
}

impl Unit {
    /// The int to store for a written number.
    pub(super) fn to_kept(self, number: Number, profile: &Profile) -> Result<i32, Errno> {
        match self {
            Self::Milliseconds(hz) if profile.times_checked => {
                let is_cut = profile.milliseconds_cut;
                let milliseconds = if is_cut { number.magnitude as u32 } else { number.as_u32()? };
                // For msecs_to_jiffies(), a negative int means MAX_JIFFY_OFFSET, which does not fit.
                i32::try_from(milliseconds).map_err(|_| Errno::EINVAL)?;
                Number { magnitude: milliseconds.div_ceil(1000 / hz.per_second()).into(), ..number }.as_int()
            }
            Self::UserTicks(hz) if profile.times_checked => {
                let magnitude = clock_to_jiffies(number.magnitude, hz.per_second().into());
                Number { magnitude, ..number }.as_int()
            }
            _ => self.to_kept_unchecked(number),
        }
    }

    /// The same on kernels where times wrap around.
    fn to_kept_unchecked(self, number: Number) -> Result<i32, Errno> {
        let Number { negative, magnitude } = number;
        // `-*lvalp` of an unsigned long; the low half is kept.
        let signed = if negative { magnitude.wrapping_neg() } else { magnitude };
        let int_max = i32::MAX as u64;
        match self {
            Self::One => number.as_int(),
            Self::Seconds(hz) if magnitude > int_max / u64::from(hz.per_second()) => Err(Errno::EINVAL),
            Self::Seconds(hz) => Ok(signed.wrapping_mul(hz.per_second().into()) as i32),
            Self::Milliseconds(hz) => {
                // msecs_to_jiffies takes an unsigned int; negative means forever.
                let milliseconds = signed as u32;
                if milliseconds as i32 >= 0 {
                    Ok(milliseconds.div_ceil(1000 / hz.per_second()) as i32)
                } else {
                    Err(Errno::EINVAL)
                }
            }
            Self::UserTicks(hz) => {
                let hz = u64::from(hz.per_second());
                if USER_HZ < hz && magnitude > (i64::MAX as u64 / hz) * USER_HZ {
                    return Err(Errno::EINVAL);
                }
                Ok(clock_to_jiffies(signed, hz) as i32)
            }
        }
    }

    /// The number to return for a stored int.
    pub(super) fn shown(self, kept: i32) -> Number {
        let magnitude = u64::from(kept.unsigned_abs());
        let magnitude = match self {
            Self::One => magnitude,
            Self::Seconds(hz) => magnitude / u64::from(hz.per_second()),
            Self::Milliseconds(hz) => {
                // jiffies_to_msecs returns an unsigned int.
                u64::from((magnitude as u32).wrapping_mul(1000 / hz.per_second()))
            }
            Self::UserTicks(hz) => magnitude * USER_HZ / u64::from(hz.per_second()),
        };
        Number { negative: kept < 0, magnitude }
    }
}

/// `clock_t_to_jiffies`.
fn clock_to_jiffies(ticks: u64, hz: u64) -> u64 {
    if hz.is_multiple_of(USER_HZ) {
        let factor = hz / USER_HZ;
        return if ticks >= u64::MAX / factor { u64::MAX } else { ticks * factor };
    }
    if ticks >= u64::MAX / hz * USER_HZ { u64::MAX } else { ticks.wrapping_mul(hz) / USER_HZ }
}
