//! Few patterns for many knobs: a glob stands for several names where it matches no knob that is decided differently.

use std::collections::BTreeMap;

/// The most bytes of a pattern.
const PATTERN_BYTES: usize = 90;

/// What a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// Knobs that the whole machine has one of.
    Host,
    /// Knobs that belong to a namespace.
    Namespace,
}

/// Patterns for one thing.
type Patterns = (Cover, Vec<String>);

/// Knobs by the components of their patterns.
#[derive(Debug, Default)]
pub(super) struct Tree {
    children: BTreeMap<&'static str, Tree>,
    /// The knob with this name, and whether it is wanted.
    knob: Option<(&'static str, Cover, bool)>,
}

impl Tree {
    /// The tree of knobs: the pattern of each, what it is, and whether it is wanted.
    pub(super) fn new(knobs: impl Iterator<Item = (&'static str, Cover, bool)>) -> Self {
        let mut tree = Self::default();
        for knob in knobs {
            let node = knob
                .0
                .split('/')
                .fold(&mut tree, |node, component| node.children.entry(component).or_default());
            node.knob = Some(knob);
        }
        tree
    }

    /// Rules for all wanted knobs, in blocks that do not overlap. The first rule of a block that matches decides.
    pub(super) fn blocks(&self) -> Vec<Vec<Patterns>> {
        self.children
            .iter()
            .map(|(component, child)| child.block(component))
            .filter(|block| !block.is_empty())
            .collect()
    }

    /// Patterns for the wanted knobs of this kind, for each component at the top.
    pub(super) fn covers(&self, cover: Cover) -> Vec<Patterns> {
        let patterns =
            self.children.iter().map(|(component, child)| (cover, child.patterns(component, cover)));
        patterns.filter(|(_, patterns)| !patterns.is_empty()).collect()
    }

    /// The names of the wanted knobs of this kind that have no placeholder.
    pub(super) fn examples(&self, cover: Cover) -> Vec<&'static str> {
        let mut found = Vec::new();
        self.for_each(&mut |(name, of, wanted)| {
            if of == cover && wanted && !name.contains('<') {
                found.push(name);
            }
        });
        found
    }

    /// A name that `pattern` matches: that of a knob, with a component for each placeholder.
    pub(super) fn example(&self, pattern: &str) -> Option<String> {
        let pattern = crate::KnobPattern::parse(pattern).ok()?;
        let mut found = None;
        self.for_each(&mut |(name, ..)| {
            let component =
                |component: &'static str| if component.starts_with('<') { "x" } else { component };
            let name = name.split('/').map(component).collect::<Vec<_>>().join("/");
            if found.is_none() && pattern.matches(name.as_bytes()) {
                found = Some(name);
            }
        });
        found
    }

    /// Rules for the wanted knobs at and below `path`.
    fn block(&self, path: &str) -> Vec<Patterns> {
        if !self.is_wanted() && self.has_only_directories() {
            let below = |(component, child): (&&str, &Self)| child.block(&format!("{path}.{component}"));
            return self.children.iter().flat_map(below).collect();
        }
        let exact = |cover| (cover, self.patterns(path, cover));
        let (host, namespace) = (exact(Cover::Host), exact(Cover::Namespace));
        let everything = || vec![format!("{path}.**")];
        let length = |(_, patterns): &Patterns| patterns.iter().map(String::len).sum::<usize>();
        let is_mixed = !host.1.is_empty() && !namespace.1.is_empty();
        let block = if !is_mixed || !self.is_wanted() {
            vec![host, namespace]
        } else if length(&namespace) <= length(&host) {
            vec![namespace, (Cover::Host, everything())]
        } else {
            vec![host, (Cover::Namespace, everything())]
        };
        block.into_iter().filter(|(_, patterns)| !patterns.is_empty()).collect()
    }

    /// Patterns for the wanted knobs of this kind at and below `path`, which match no others.
    fn patterns(&self, path: &str, cover: Cover) -> Vec<String> {
        if self.knob.is_some_and(|(_, of, wanted)| of == cover && wanted) {
            return vec![path.to_owned()];
        }
        if !self.has_any(cover) {
            return Vec::new();
        }
        if self.is_all(cover) {
            return vec![format!("{path}.**")];
        }
        let mut names: Vec<String> = Vec::new();
        let mut directories: Vec<String> = Vec::new();
        let mut deeper: Vec<String> = Vec::new();
        for (component, child) in &self.children {
            let written = if component.starts_with('<') { "*" } else { component };
            if child.children.is_empty() {
                if child.is_all(cover) {
                    names.push(self.family(component, cover).unwrap_or_else(|| written.to_owned()));
                }
            } else if child.is_all(cover) {
                directories.push(written.to_owned());
            } else {
                deeper.extend(child.patterns(&format!("{path}.{written}"), cover));
            }
        }
        names.dedup();
        let mut patterns = grouped(path, &names, "");
        patterns.extend(grouped(path, &directories, ".**"));
        patterns.extend(deeper);
        patterns
    }

    /// The shortest glob, up to a `_` or `-`, that matches this name and others of its kind, and no child that is not.
    fn family(&self, name: &str, cover: Cover) -> Option<String> {
        let ends = name.char_indices().filter(|(_, char)| matches!(char, '_' | '-')).map(|(at, _)| at + 1);
        ends.map(|end| &name[..end]).find_map(|prefix| {
            // The name of a directory is not that of a knob.
            let knobs = self.children.iter().filter(|(_, child)| child.children.is_empty());
            let mut matched = knobs.filter(|(component, _)| component.starts_with(prefix));
            let is_family = matched.clone().count() > 1 && matched.all(|(_, child)| child.is_all(cover));
            is_family.then(|| format!("{prefix}*"))
        })
    }

    /// Whether all wanted knobs are in directories whose names have no placeholder, so that rules about one do not match those of another.
    fn has_only_directories(&self) -> bool {
        let mut children = self.children.iter();
        self.knob.is_none()
            && children.all(|(component, child)| {
                let is_wanted = child.has_any(Cover::Host) || child.has_any(Cover::Namespace);
                !(component.starts_with('<') || is_wanted && child.children.is_empty())
            })
    }

    fn for_each(&self, found: &mut impl FnMut((&'static str, Cover, bool))) {
        self.knob.into_iter().for_each(&mut *found);
        self.children.values().for_each(|child| child.for_each(found));
    }

    /// Whether all knobs are wanted, and of this kind.
    fn is_all(&self, cover: Cover) -> bool {
        let mut is_all = true;
        self.for_each(&mut |(_, of, wanted)| is_all &= of == cover && wanted);
        is_all
    }

    /// Whether a knob is wanted and of this kind.
    fn has_any(&self, cover: Cover) -> bool {
        let mut has_any = false;
        self.for_each(&mut |(_, of, wanted)| has_any |= of == cover && wanted);
        has_any
    }

    /// Whether all knobs are wanted.
    fn is_wanted(&self) -> bool {
        let mut is_wanted = true;
        self.for_each(&mut |(_, _, wanted)| is_wanted &= wanted);
        is_wanted
    }
}

/// `path.{a,b}end` for these names, in patterns that are not too long.
fn grouped(path: &str, names: &[String], end: &str) -> Vec<String> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut length = 0;
    for name in names {
        match groups.last_mut() {
            Some(group) if path.len() + length + name.len() + 4 + end.len() <= PATTERN_BYTES => {
                group.push(name);
                length += name.len() + 1;
            }
            _ => {
                groups.push(vec![name]);
                length = name.len();
            }
        }
    }
    let pattern = |group: Vec<&str>| match group.as_slice() {
        [name] => format!("{path}.{name}{end}"),
        names => format!("{path}.{{{}}}{end}", names.join(",")),
    };
    groups.into_iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::Cover::{Host, Namespace};
    use super::*;

    /// The blocks for knobs that are given by name: those of a namespace end with `!`, those that are not wanted begin with `-`.
    fn blocks(knobs: &[&'static str]) -> Vec<Vec<(Cover, String)>> {
        let knob = |text: &&'static str| {
            let (name, wanted) = text.strip_prefix('-').map_or((*text, true), |name| (name, false));
            match name.strip_suffix('!') {
                Some(name) => (name, Namespace, wanted),
                None => (name, Host, wanted),
            }
        };
        let tree = Tree::new(knobs.iter().map(knob));
        let joined = |(cover, patterns): Patterns| (cover, patterns.join(", "));
        tree.blocks().into_iter().map(|block| block.into_iter().map(joined).collect()).collect()
    }

    #[test]
    fn a_directory_of_one_kind_is_one_glob() {
        assert_eq!(
            blocks(&["a/b", "a/c/d", "n/x!", "n/<y>/z!"]),
            [vec![(Host, "a.**".to_owned())], vec![(Namespace, "n.**".to_owned())]]
        );
    }

    #[test]
    fn the_shorter_list_comes_first() {
        assert_eq!(
            blocks(&["k/a", "k/b", "k/c_1", "k/host!"]),
            [vec![(Namespace, "k.host".to_owned()), (Host, "k.**".to_owned())]]
        );
        assert_eq!(
            blocks(&["n/mem", "n/a!", "n/b/long/x!", "n/b/y"]),
            [vec![(Host, "n.mem, n.b.y".to_owned()), (Namespace, "n.**".to_owned())]]
        );
    }

    #[test]
    fn a_directory_that_is_wanted_as_a_whole_has_a_glob() {
        assert_eq!(
            blocks(&["-n/mem", "-n/a/x!", "n/b/long_name!", "n/b/longer_name!", "n/b/y"]),
            [vec![(Host, "n.b.y".to_owned()), (Namespace, "n.b.**".to_owned())]]
        );
        // A glob for all interfaces would match this one.
        assert_eq!(
            blocks(&["-n/mem", "n/<i>/x!", "n/<i>/y!", "n/default/x"])[0],
            [(Host, "n.default.**".to_owned()), (Namespace, "n.*.**".to_owned())]
        );
    }

    #[test]
    fn a_family_is_a_glob_only_if_all_are_of_its_kind() {
        let knobs = ["-k/z", "k/a_1", "k/a_2", "k/b_1", "k/b_2!", "k/c_x_1", "k/c_x_2", "k/c_y!", "k/d_1"];
        let [host, namespace] = &blocks(&knobs)[0][..] else { panic!() };
        assert_eq!(host.1, "k.{a_*,b_1,c_x_*,d_1}");
        assert_eq!(namespace.1, "k.{b_2,c_y}");
    }

    #[test]
    fn a_directory_does_not_break_up_a_family() {
        assert_eq!(
            blocks(&["-k/z", "k/a_1", "k/a_2", "k/a_dir/x!", "k/a_dir/y"])[0],
            [(Host, "k.a_*, k.a_dir.y".to_owned()), (Namespace, "k.a_dir.x".to_owned())]
        );
    }

    #[test]
    fn what_is_not_wanted_has_no_pattern() {
        assert_eq!(blocks(&["a/b", "-a/c", "-d/e!"]), [vec![(Host, "a.b".to_owned())]]);
    }

    #[test]
    fn long_lists_are_several_patterns() {
        let names: Vec<String> = (0..40).map(|index| format!("name{index}")).collect();
        let patterns = grouped("dir", &names, ".**");
        assert!(
            patterns.len() > 2 && patterns.iter().all(|pattern| pattern.len() <= PATTERN_BYTES),
            "{patterns:?}"
        );
        assert_eq!(patterns.iter().map(|pattern| pattern.matches("name").count()).sum::<usize>(), 40);
    }
}
