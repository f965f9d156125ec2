//! Where two lists of rules decide differently: both decide every combination of candidates.

use foldhash::{HashMap, HashSet};
use knobgate_policy::{Access, Decision, KnobName, KnobNetns, Policy, Task, evaluate};

use crate::atoms::Atoms;
use crate::candidates::{self, Bytes, Candidate, Reason, relations};
use crate::change::{Change, VerdictKind, decider};
use crate::names::Pair;
use crate::region::{Part, Region, Subject, merged};

/// The most combinations of values that are tried for one set of names.
pub const CASES_MAX: usize = 1 << 16;

/// The most combinations of values that are tried for all sets of names together.
pub const ALL_CASES_MAX: usize = 1 << 23;

/// How many of them are tried for one set of names when there are too many.
const SAMPLED_CASES: usize = 1 << 9;

/// How two lists of rules differ for accesses of one kind to names that both match.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) change: Change,
    pub(crate) reason: Option<Reason>,
    pub(crate) region: Region,
    pub(crate) example: Access,
    pub(crate) decisions: Pair<Decision>,
}

/// Accesses with the same key are in the same class.
type Key = (Change, Pair<(VerdictKind, Option<(usize, bool)>)>);

pub(crate) fn key(change: Change, decisions: &Pair<Decision>) -> Key {
    let of = |decision: &Decision| (VerdictKind::from(&decision.verdict), decider(decision.by));
    (change, [of(&decisions[0]), of(&decisions[1])])
}

/// All combinations of candidates.
struct Space {
    new: Vec<Candidate<Bytes>>,
    old: Vec<Candidate<Bytes>>,
    pos: Vec<Candidate<u32>>,
    uid: Vec<Candidate<u32>>,
    gid: Vec<Candidate<u32>>,
    comm: Vec<Candidate<Vec<u8>>>,
    netns: Vec<Candidate<Option<KnobNetns>>>,
}

/// What is known of a class while it grows.
struct Growing {
    cases: usize,
    example: Access,
    decisions: Pair<Decision>,
    /// For each subject, which candidates are in it.
    candidates: [HashSet<usize>; 7],
}

/// The differences between two policies whose rules all match `knob`, for its reads or its writes. `cases` is how many
/// combinations may still be tried.
pub(crate) fn differences(
    policies: Pair<&Policy>,
    knob: &KnobName,
    is_write: bool,
    cases: &mut usize,
) -> Vec<Difference> {
    let modes = (policies[0].mode(), policies[1].mode());
    let widths = policies.map(|policy| policy.width_of(knob.as_bytes()));
    let atoms = Atoms::of(policies.into_iter().flat_map(Policy::rules), widths);
    let mut reasons = Vec::new();
    let space = Space::of(&atoms, is_write, &mut reasons);
    let count = space.count();
    let most = CASES_MAX.min(*cases);
    let step = if count <= most {
        1
    } else {
        reasons.push(Reason::TooManyCases);
        coprime_step((count / SAMPLED_CASES).max(1), count)
    };
    let mut found: HashMap<Key, Growing> = HashMap::default();
    let mut order: Vec<Key> = Vec::new();
    for case in (0..count).step_by(step) {
        *cases = cases.saturating_sub(1);
        let indices = space.indices(case);
        let access = space.access(knob, is_write, indices);
        let decisions = policies.map(|policy| evaluate(policy, &access));
        let Some(change) = Change::between(&decisions[0], &decisions[1], modes) else { continue };
        let key = key(change, &decisions);
        let growing = found.entry(key).or_insert_with(|| {
            order.push(key);
            Growing { cases: 0, example: access, decisions, candidates: Default::default() }
        });
        growing.cases += 1;
        for (candidates, index) in growing.candidates.iter_mut().zip(indices) {
            candidates.insert(index);
        }
    }
    let mut differences: Vec<Difference> = order
        .into_iter()
        .filter_map(|key| {
            let growing = found.remove(&key)?;
            let region = space.region(&growing, step > 1);
            let Growing { example, decisions, .. } = growing;
            Some(Difference { change: key.0, reason: None, region, example, decisions })
        })
        .collect();
    reasons.sort_unstable();
    if let Some(&reason) = reasons.first() {
        let example = space.access(knob, is_write, [0; 7]);
        let decisions = policies.map(|policy| evaluate(policy, &example));
        let (change, region) = (Change::Undecided, Region::default());
        differences.push(Difference { change, reason: Some(reason), region, example, decisions });
    }
    differences
}

impl Space {
    fn of(atoms: &Atoms<'_>, is_write: bool, reasons: &mut Vec<Reason>) -> Self {
        if atoms.has_several_numbers {
            reasons.push(Reason::SeveralNumbers);
        }
        if atoms.has_masks {
            reasons.push(Reason::Masks);
        }
        if atoms.has_ranges {
            reasons.push(Reason::Ranges);
        }
        let old = candidates::old_values(atoms, reasons);
        let new = if is_write {
            candidates::new_values(atoms, &old, reasons)
        } else {
            vec![Candidate { part: Part::Any, value: Bytes::Missing }]
        };
        let ids = |cuts, subject| candidates::ids(cuts, relations(atoms, subject));
        Self {
            pos: ids(atoms.pos.as_ref(), Subject::Pos),
            uid: ids(atoms.uid.as_ref(), Subject::Uid),
            gid: ids(atoms.gid.as_ref(), Subject::Gid),
            comm: candidates::names(&atoms.comm, reasons),
            netns: candidates::netns(atoms.has_netns),
            new,
            old,
        }
    }

    fn lengths(&self) -> [usize; 7] {
        let ids = [&self.pos, &self.uid, &self.gid].map(Vec::len);
        [self.new.len(), self.old.len(), ids[0], ids[1], ids[2], self.comm.len(), self.netns.len()]
    }

    fn count(&self) -> usize {
        self.lengths().into_iter().fold(1, usize::saturating_mul)
    }

    /// The candidates of a combination, by subject.
    fn indices(&self, case: usize) -> [usize; 7] {
        let mut rest = case;
        self.lengths().map(|length| {
            let index = rest % length;
            rest /= length;
            index
        })
    }

    fn access(&self, knob: &KnobName, is_write: bool, indices: [usize; 7]) -> Access {
        let [new, old, pos, uid, gid, comm, netns] = indices;
        let new = match &self.new[new].value {
            Bytes::These(bytes) if is_write => Some(bytes.clone()),
            _ => None,
        };
        let old = match &self.old[old].value {
            Bytes::These(bytes) => Some(bytes.clone()),
            Bytes::SameAsNew => new.clone(),
            Bytes::Missing => None,
        };
        let (uid, gid) = (self.uid[uid].value, self.gid[gid].value);
        let task = Task::default().uid(uid).gid(gid).comm(self.comm[comm].value.clone());
        let knob_netns = self.netns[netns].value;
        Access { knob: knob.clone(), new, old, pos: self.pos[pos].value.into(), knob_netns, task }
    }

    fn parts(&self, subject: Subject) -> Vec<&Part> {
        match subject {
            Subject::New => self.new.iter().map(|candidate| &candidate.part).collect(),
            Subject::Old => self.old.iter().map(|candidate| &candidate.part).collect(),
            Subject::Pos => self.pos.iter().map(|candidate| &candidate.part).collect(),
            Subject::Uid => self.uid.iter().map(|candidate| &candidate.part).collect(),
            Subject::Gid => self.gid.iter().map(|candidate| &candidate.part).collect(),
            Subject::Comm => self.comm.iter().map(|candidate| &candidate.part).collect(),
            Subject::Netns => self.netns.iter().map(|candidate| &candidate.part).collect(),
        }
    }

    fn region(&self, class: &Growing, is_sampled: bool) -> Region {
        let mut subjects = Vec::new();
        // How many cases there are with these parts.
        let mut cases = 1usize;
        for (subject, found) in Subject::ALL.into_iter().zip(&class.candidates) {
            let all = self.parts(subject);
            let parts: HashSet<&Part> = found.iter().map(|&index| all[index]).collect();
            let in_parts = all.iter().filter(|part| parts.contains(**part)).count();
            cases = cases.saturating_mul(in_parts);
            if in_parts < all.len() {
                let parts = merged(parts.into_iter().cloned().collect());
                subjects.push((subject, without_covered_texts(parts)));
            }
        }
        Region { subjects, is_partial: is_sampled || class.cases < cases }
    }
}

/// Without the texts that are numbers of a part.
fn without_covered_texts(mut parts: Vec<Part>) -> Vec<Part> {
    let numbers: Vec<(i128, i128)> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Number(low, high) => Some((low.get(), high.get())),
            _ => None,
        })
        .collect();
    parts.retain(|part| {
        let Part::Text(text) = part else { return true };
        let number = str::from_utf8(text.as_bytes()).ok().and_then(|text| text.parse::<i128>().ok());
        !number.is_some_and(|number| numbers.iter().any(|&(low, high)| (low..=high).contains(&number)))
    });
    parts
}

/// A step of at least `least` that shares no factor with `count`: a step with a factor would leave out candidates.
fn coprime_step(least: usize, count: usize) -> usize {
    let common_factor = |mut one: usize, mut other: usize| {
        while other > 0 {
            (one, other) = (other, one % other);
        }
        one
    };
    (least..).find(|&step| common_factor(step, count) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shares_no_factor_with_what_it_counts() {
        for (least, count, step) in
            [(1, 10, 1), (513, 513 * 512, 515), (3, 3 * 5 * 7 * 8, 11), (600, 600 * 512, 601)]
        {
            assert_eq!(coprime_step(least, count), step, "{least} {count}");
        }
    }
}
