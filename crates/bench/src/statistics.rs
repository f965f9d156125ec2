//! Medians with their spread.

/// The median of some measurements, and what is around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// A quarter is below this.
    pub(crate) low: f64,
    /// Half is below this.
    pub(crate) median: f64,
    /// Three quarters are below this.
    pub(crate) high: f64,
    /// Where the median of ever more measurements would be, with 95 % confidence: between these.
    between: (f64, f64),
}

impl Spread {
    /// That of `values`, in whatever order.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let at = |quarter: usize| values[last * quarter / 4];
        // The number of values below the true median is binomial, which is nearly normal for so many.
        let off = (0.98 * (values.len() as f64).sqrt()).ceil() as usize;
        let (middle, off) = (last / 2, off.min(last / 2));
        let between = (values[middle - off], values[(middle + off).min(last)]);
        Self { low: at(1), median: at(2), high: at(3), between }
    }

    /// Whether the median is at most `most`; `None` if that cannot be told from so few measurements.
    pub(crate) fn is_at_most(self, most: f64) -> Option<bool> {
        let (from, to) = self.between;
        if to <= most {
            Some(true)
        } else if from > most {
            Some(false)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_quartiles_and_confidence_intervals() {
        let spread = Spread::of((1..=401).rev().map(f64::from).collect());
        assert_eq!((spread.low, spread.median, spread.high), (101.0, 201.0, 301.0));
        assert_eq!(spread.between, (181.0, 221.0));
        assert_eq!(spread.is_at_most(221.0), Some(true));
        assert_eq!(spread.is_at_most(201.0), None);
        assert_eq!(spread.is_at_most(180.0), Some(false));
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.low, one.median, one.high, one.between), (7.0, 7.0, 7.0, (7.0, 7.0)));
    }
}
