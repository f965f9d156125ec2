//! The types of a map's keys and values, as a kernel gets them.

use std::fmt;
use std::sync::Arc;

use crate::btf::{self, Strings};
use crate::btf_types::{ARRAY, CONST, ENUM, ENUM64, FLOAT, PTR, STRUCT, TYPE_TAG, Type, Types, number};

/// The types of a map's keys and values (`btf_fd`, `btf_key_type_id` and `btf_value_type_id` of `BPF_MAP_CREATE`).
#[derive(Clone, PartialEq, Eq)]
pub struct MapBtf {
    /// The types, for `BPF_BTF_LOAD`. The maps of an object share them.
    pub types: Arc<[u8]>,
    /// The type of keys; 0 for the variables of a section.
    pub key_type_id: u32,
    /// The type of values.
    pub value_type_id: u32,
    /// The fields of values that the kernel manages, in the order of their offsets.
    pub special_fields: Vec<SpecialField>,
}

/// A field of a value that the kernel manages, such as a lock (`enum btf_field_type` in include/linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecialField {
    /// The name of its type, such as `bpf_spin_lock`; `kptr` for a pointer that is one of the kernel's.
    pub type_name: &'static str,
    /// Where it is in the value, in bytes. Of several in an array, the first.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// The structs that the kernel knows by name.
const SPECIAL_STRUCTS: [&str; 10] = [
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];

/// The tags of pointers to objects of the kernel.
const POINTER_TAGS: [&str; 4] = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"];

/// How deep structs are nested that are looked at.
const DEPTH_MAX: usize = 16;

impl MapBtf {
    /// The types for kernels that do not know all kinds of them, from newer to older kernels: without 64-bit and signed enums
    /// (before 6.0), also without type tags (before 5.17), also without floating-point numbers (before 5.13). Each that is the
    /// same as the one before is left out. Numbers and sizes of types stay.
    pub fn for_older_kernels(&self) -> Vec<Vec<u8>> {
        let kinds = [ENUM64, TYPE_TAG, FLOAT];
        let mut all = Vec::new();
        let Some(types) = Types::read(&self.types) else { return all };
        for count in 1..=kinds.len() {
            let older = without(&types, &kinds[..count]);
            if older != *self.types && all.last() != Some(&older) {
                all.push(older);
            }
        }
        all
    }
}

impl fmt::Debug for MapBtf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBtf")
            .field("types", &format_args!("{} bytes", self.types.len()))
            .field("key_type_id", &self.key_type_id)
            .field("value_type_id", &self.value_type_id)
            .field("special_fields", &self.special_fields)
            .finish()
    }
}

/// The special fields of a type, in the order of their offsets. Looks at no more than `members` of structs in structs, and takes those
/// that it has looked at off this number.
pub(crate) fn special_fields(types: &Types<'_>, id: u32, members: &mut usize) -> Vec<SpecialField> {
    let mut fields = Vec::new();
    find(types, id, 0, DEPTH_MAX, members, &mut fields);
    fields.sort_by_key(|field| field.offset);
    fields
}

/// Adds the special fields of a type at `offset`.
fn find(
    types: &Types<'_>,
    id: u32,
    offset: u32,
    depth: usize,
    members: &mut usize,
    fields: &mut Vec<SpecialField>,
) {
    let Some(of) = types.resolved(id).filter(|_| depth > 0) else { return };
    let found = match of.kind {
        STRUCT => SPECIAL_STRUCTS.into_iter().find(|name| types.name(of) == *name),
        PTR => {
            let tag = types.get(of.payload).filter(|of| of.kind == TYPE_TAG);
            tag.filter(|tag| POINTER_TAGS.contains(&types.name(*tag))).map(|_| "kptr")
        }
        ARRAY => {
            if types.length(of) > Some(0) {
                find(types, number(of.rest[0]), offset, depth - 1, members, fields);
            }
            None
        }
        _ => None,
    };
    if let Some(type_name) = found {
        fields.push(SpecialField { type_name, offset, size: types.size(id).unwrap_or_default() });
        return;
    }
    // No special field is in a union, nor in bit fields.
    if of.kind != STRUCT {
        return;
    }
    for member in types.members(of) {
        let Some(left) = members.checked_sub(1) else { return };
        *members = left;
        let bits = if of.kind_flag { member.offset & 0xff_ffff } else { member.offset };
        find(types, member.of_type, offset.saturating_add(bits / 8), depth - 1, members, fields);
    }
}

/// The types, with others of the same size instead of these kinds.
fn without(types: &Types<'_>, kinds: &[u32]) -> Vec<u8> {
    let (mut made, mut strings) = (btf::Types::new(), Strings::new());
    for (_, of) in types.all() {
        let replaced = kinds.contains(&of.kind);
        match of.kind {
            ENUM64 | FLOAT if replaced => made.add(strings.add(types.name(of)), STRUCT, 0, of.payload, &[]),
            TYPE_TAG if replaced => made.add(0, CONST, 0, of.payload, &[]),
            _ => copy(types, of, kinds, &mut made, &mut strings),
        };
    }
    btf::blob(&made, &strings)
}

fn copy(types: &Types<'_>, of: Type<'_>, kinds: &[u32], made: &mut btf::Types, strings: &mut Strings) -> u32 {
    let mut words: Vec<u32> = of.rest.iter().map(|word| number(*word)).collect();
    let (stride, named) = types.record_words(of);
    if named {
        words
            .chunks_exact_mut(stride)
            .for_each(|record| record[0] = strings.add(types.strings.at(record[0])));
    }
    let count = words.len().checked_div(stride).unwrap_or(0);
    let kind_flag = of.kind_flag && !(of.kind == ENUM && kinds.contains(&ENUM64));
    let name = strings.add(types.name(of));
    made.add_flagged(name, of.kind, kind_flag, count as u32, of.payload, &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf_types::{FWD, INT};

    /// A struct with a member of each of these types, of 8 bytes each; they are numbered from 3, after it and an integer.
    fn value(member_types: &[(u32, bool, u32, &[u32])]) -> MapBtf {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let int = types.add(strings.add("int"), INT, 0, 4, &[32]);
        assert_eq!(int, 1);
        let members: Vec<u32> =
            (0..member_types.len() as u32).flat_map(|index| [0, index + 3, 64 * index]).collect();
        let count = member_types.len() as u32;
        types.add(strings.add("value"), STRUCT, count, 8 * count, &members);
        for &(kind, kind_flag, payload, rest) in member_types {
            let name = match kind {
                STRUCT => strings.add("bpf_timer"),
                TYPE_TAG => strings.add("kptr"),
                _ => 0,
            };
            types.add_flagged(name, kind, kind_flag, rest.len().div_ceil(3) as u32, payload, rest);
        }
        let types = btf::blob(&types, &strings).into();
        MapBtf { types, key_type_id: 1, value_type_id: 2, special_fields: Vec::new() }
    }

    fn kinds(types: &[u8]) -> Vec<(u32, bool, u32)> {
        Types::read(types).expect("types").all().map(|(_, of)| (of.kind, of.kind_flag, of.payload)).collect()
    }

    #[test]
    fn older_kernels_get_types_of_the_same_size_that_they_know() {
        let btf = value(&[
            (ENUM64, true, 8, &[0, 1, 0]),
            (FLOAT, false, 8, &[]),
            (PTR, false, 6, &[]),
            (TYPE_TAG, false, 7, &[]),
            (FWD, true, 0, &[]),
        ]);
        let all = btf.for_older_kernels();
        let changed: Vec<_> = all.iter().map(|types| kinds(types)[2..].to_vec()).collect();
        let pointer = [(PTR, false, 6), (CONST, false, 7), (FWD, true, 0)];
        let tagged = [(PTR, false, 6), (TYPE_TAG, false, 7), (FWD, true, 0)];
        let with = |first, second, rest: [_; 3]| [&[first, second][..], &rest].concat();
        assert_eq!(
            changed,
            [
                with((STRUCT, false, 8), (FLOAT, false, 8), tagged),
                with((STRUCT, false, 8), (FLOAT, false, 8), pointer),
                with((STRUCT, false, 8), (STRUCT, false, 8), pointer),
            ]
        );
    }

    #[test]
    fn fields_that_the_kernel_manages_are_found_wherever_they_are() {
        // The second member is an array of the third, the fourth a pointer to the tagged fifth.
        let btf = value(&[
            (FLOAT, false, 8, &[]),
            (ARRAY, false, 0, &[5, 1, 2]),
            (STRUCT, false, 8, &[]),
            (PTR, false, 7, &[]),
            (TYPE_TAG, false, 1, &[]),
        ]);
        let types = Types::read(&btf.types).expect("types");
        let fields = special_fields(&types, btf.value_type_id, &mut 100);
        let fields: Vec<_> = fields.iter().map(|field| (field.type_name, field.offset)).collect();
        assert_eq!(fields, [("bpf_timer", 8), ("bpf_timer", 16), ("kptr", 24)]);
    }

    #[test]
    fn types_that_contain_each_other_end() {
        // Each contains the next one twice, and the last one the first.
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        for next in (2..=40).chain([1]) {
            types.add(strings.add("nested"), STRUCT, 2, 8, &[0, next, 0, 0, next, 0]);
        }
        let blob = btf::blob(&types, &strings);
        let mut members = 1000;
        assert_eq!(special_fields(&Types::read(&blob).expect("types"), 1, &mut members), []);
        assert_eq!(members, 0);
    }
}
