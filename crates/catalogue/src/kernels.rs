//! The kernels that the catalogue was collected from.

use std::fmt;
use std::sync::LazyLock;

/// A kernel that was asked for its knobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    series: &'static str,
    release: &'static str,
}

impl Kernel {
    /// Its series, such as `6.12`.
    pub fn series(&self) -> &'static str {
        self.series
    }

    /// The release that was asked, such as `6.12.117`.
    pub fn release(&self) -> &'static str {
        self.release
    }
}

static KERNELS: LazyLock<Vec<Kernel>> = LazyLock::new(|| {
    let lines = include_str!("../data/kernels.tsv").lines().filter(|line| !line.starts_with('#'));
    let kernels = lines.map(|line| {
        let (series, release) =
            line.split_once('\t').unwrap_or_else(|| panic!("kernels.tsv: no tab in {line:?}"));
        Kernel { series, release }
    });
    kernels.collect()
});

pub(crate) fn all() -> &'static [Kernel] {
    &KERNELS
}

/// A set of the kernels that were asked. Displayed like `5.10 to 6.12, 7.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kernels(u32);

impl Kernels {
    /// Whether the set has the kernel of this series.
    pub fn contains(self, series: &str) -> bool {
        self.iter().any(|kernel| kernel.series == series)
    }

    /// Whether the set has none of them.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of the set, oldest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'static Kernel> {
        all().iter().enumerate().filter(move |(at, _)| self.has(*at)).map(|(_, kernel)| kernel)
    }

    /// From the notation of `tables.tsv`: `5.10-6.12,7.3`, or `-` for none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let place = |series: &str| all().iter().position(|kernel| kernel.series == series);
        let mut set = Self::default();
        if text == "-" {
            return Some(set);
        }
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (place(first)?, place(last)?);
            (first..=last).for_each(|at| set.0 |= 1 << at);
        }
        Some(set)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The place of the newest, from 1; 0 if there is none.
    pub(crate) fn newest(self) -> u32 {
        u32::BITS - self.0.leading_zeros()
    }

    fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        let mut separator = "";
        while at < all().len() {
            if self.has(at) {
                let first = at;
                while self.has(at + 1) {
                    at += 1;
                }
                write!(f, "{separator}{}", all()[first].series)?;
                if at > first {
                    write!(f, " to {}", all()[at].series)?;
                }
                separator = ", ";
            }
            at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_displayed_as_it_is_read() {
        for text in ["5.10", "5.10-7.3", "5.10,6.12", "5.10-6.1,7.2-7.3"] {
            let set = Kernels::parse(text).unwrap();
            assert_eq!(set.to_string(), text.replace('-', " to ").replace(',', ", "));
        }
        assert_eq!(Kernels::parse("-"), Some(Kernels::default()));
        for text in ["", "4.19", "5.10-", "5.10,", "6.1-5.11"] {
            assert_eq!(Kernels::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn they_are_sorted_and_few() {
        let series =
            |kernel: &Kernel| -> Vec<u32> { kernel.series.split('.').map(|n| n.parse().unwrap()).collect() };
        assert!(all().is_sorted_by(|one, other| series(one) < series(other)));
        assert!(all().len() < 32);
        assert!(all().iter().all(|kernel| kernel.release.starts_with(kernel.series)));
    }
}
