//! Rows by their keys, of which there are never more than a number.

use std::collections::HashMap;
use std::hash::Hash;

/// A row of a table.
pub(super) trait Row {
    /// When something last happened to it.
    fn last(&self) -> u64;
    /// How many events it stands for.
    fn events(&self) -> u64;
}

/// Rows by their keys. If there are too many, those to which nothing has happened for the longest time are left out.
#[derive(Debug, Clone)]
pub(super) struct Table<K, V> {
    rows: HashMap<K, V>,
    max: usize,
    left_out: LeftOut,
}

/// What a table had to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LeftOut {
    pub(super) rows: u64,
    /// Those of these rows.
    pub(super) events: u64,
}

impl<K: Clone + Eq + Hash, V: Row> Table<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { rows: HashMap::new(), max, left_out: LeftOut::default() }
    }

    /// The row of a key. If there is none, makes one.
    pub(super) fn row(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.rows.len() >= self.max && !self.rows.contains_key(&key) {
            self.make_room();
        }
        self.rows.entry(key).or_insert_with(make)
    }

    /// Leaves out a quarter of the rows, so that this is not needed for each new one.
    fn make_room(&mut self) {
        let mut rows: Vec<(u64, &K)> = self.rows.iter().map(|(key, row)| (row.last(), key)).collect();
        let quarter = (self.max / 4).max(1).min(rows.len());
        rows.select_nth_unstable_by_key(quarter - 1, |(last, _)| *last);
        let oldest: Vec<K> = rows[..quarter].iter().map(|(_, key)| (*key).clone()).collect();
        for key in oldest {
            let events = self.rows.remove(&key).map_or(0, |row| row.events());
            self.left_out.rows += 1;
            self.left_out.events += events;
        }
    }

    /// Whether another row has room.
    pub(super) fn has_room(&self) -> bool {
        self.rows.len() < self.max
    }

    pub(super) fn left_out(&self) -> LeftOut {
        self.left_out
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.rows.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.rows.iter_mut()
    }

    /// Removes the rows for which this does not hold. They are not left out: there is nothing more to say about them.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.rows.retain(|_, row| keep(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for (u64, u64) {
        fn last(&self) -> u64 {
            self.0
        }

        fn events(&self) -> u64 {
            self.1
        }
    }

    #[test]
    fn the_rows_that_were_quiet_for_longest_are_left_out_and_counted() {
        let mut table = Table::new(8);
        for key in 0..100u64 {
            table.row(key, || (key, 3));
            assert!(table.rows.len() <= 8);
            // This one stays active.
            table.row(0, || (0, 3)).0 = key;
        }
        let left_out = table.left_out();
        assert_eq!((left_out.rows + table.rows.len() as u64, left_out.events), (100, 3 * left_out.rows));
        assert!(table.get_mut(&0).is_some() && table.get_mut(&99).is_some() && table.get_mut(&50).is_none());
    }
}
