//! The structs of a kernel that a model of it has, where that kernel has them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::btf_types::{INT, STRUCT, TYPEDEF, Type, Types, place};
use crate::{KernelTypes, LayoutError, MemberType, StructDef};

/// The structs that a model of a kernel has in its memory, with the layout that programs see.
///
/// The layout is either the model's own, or that of a [kernel's BTF](Self::of_kernel). A kernel's structs have more members than
/// the model knows. Their bytes are [not modelled](Self::is_modelled): nobody knows what a kernel would have there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelStructs {
    structs: Vec<StructDef>,
    /// For each struct that has members which are not modelled, whether a byte belongs to one.
    unknown: BTreeMap<&'static str, Vec<bool>>,
}

/// The largest struct or array. Those of kernels are smaller, also with everything on that helps to find bugs.
const BYTES_MAX: u32 = 64 << 10;

/// How deep structs nest.
const DEPTH_MAX: usize = 16;

/// How many members may be looked at, and bytes of members marked, for all structs together. Kernels need some ten thousands: a
/// struct can be inside of another one many times, so that what a short file describes has no end otherwise.
const BUDGET: u32 = 1 << 20;

impl KernelStructs {
    /// Structs that have no members but these.
    pub fn own(structs: Vec<StructDef>) -> Self {
        Self { structs, unknown: BTreeMap::new() }
    }

    /// The structs of `wanted` as a kernel lays them out. A struct comes after those that are inside of it. Structs and members that the
    /// kernel does not have, or has in another size, are left out. An array has as many elements as in the kernel, except for one with
    /// room for more at the end of its struct.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Missing`] if it has no `task_struct`; [`LayoutError::PointerSize`]; [`LayoutError::TooLarge`];
    /// [`LayoutError::TooComplex`].
    pub fn of_kernel(kernel: &KernelTypes, wanted: &[StructDef]) -> Result<Self, LayoutError> {
        let missing = || LayoutError::Missing("struct task_struct".to_owned());
        kernel.find(STRUCT, "task_struct").ok_or_else(missing)?;
        // The kernel names it so in every release.
        let long = kernel.find(INT, "long unsigned int").map(|(_, of)| of.payload);
        if let Some(bytes) = long.filter(|bytes| *bytes != 8) {
            return Err(LayoutError::PointerSize { bytes });
        }
        let types = Composites { kernel, types: kernel.types(), budget: Cell::new(BUDGET) };
        let mut found = Self::default();
        for def in wanted {
            let Some(of) = types.named(def.name) else { continue };
            if of.payload > BYTES_MAX {
                return Err(LayoutError::TooLarge { name: def.name, size: of.payload });
            }
            let (def, unknown) = found.lay_out(&types, of, def, wanted)?;
            if unknown.contains(&true) {
                found.unknown.insert(def.name, unknown);
            }
            found.structs.push(def);
        }
        Ok(found)
    }

    /// The structs.
    pub fn all(&self) -> &[StructDef] {
        &self.structs
    }

    /// The struct of this name.
    pub fn get(&self, name: &str) -> Option<&StructDef> {
        self.structs.iter().find(|of| of.name == name)
    }

    /// Whether the model knows what is in at least one of these bytes of a struct. That is so for all bytes of a struct that it does
    /// not have at all: no program gets to one.
    pub fn knows_some(&self, name: &str, bytes: Range<u64>) -> bool {
        !self.bytes(name, bytes.start..bytes.end.max(bytes.start + 1)).all(|is_unknown| is_unknown)
    }

    /// Whether the model knows what is in all of these bytes of a struct. Padding is known.
    pub fn is_modelled(&self, name: &str, bytes: Range<u64>) -> bool {
        !self.bytes(name, bytes).any(|is_unknown| is_unknown)
    }

    /// Whether each of these bytes belongs to a member that is not modelled.
    fn bytes(&self, name: &str, bytes: Range<u64>) -> impl Iterator<Item = bool> {
        let unknown = self.unknown.get(name).map(Vec::as_slice).unwrap_or_default();
        let end = bytes.end.min(u64::from(u32::MAX));
        (bytes.start..end).map(|at| unknown.get(at as usize).copied().unwrap_or(false))
    }

    /// One struct with the layout of `of`, and for each of its bytes whether it is not modelled.
    fn lay_out(
        &self,
        composites: &Composites<'_>,
        of: Type<'_>,
        wanted: &StructDef,
        own: &[StructDef],
    ) -> Result<(StructDef, Vec<bool>), LayoutError> {
        let types = &composites.types;
        let mut layout = Layout { unknown: vec![false; of.payload as usize], known: Vec::new() };
        layout.add_unknown(composites, of, 0, DEPTH_MAX, &|name| wanted.member(name).is_some())?;
        let mut members = Vec::new();
        for member in &wanted.members {
            let Some((bits, id)) = composites.member(of, member.name, DEPTH_MAX)? else { continue };
            let offset = (bits / 8) as u32;
            let Some(of_type) = self.fitting(types, id, member.of_type, own) else {
                layout.set(offset, types.size(id).unwrap_or(0), true);
                continue;
            };
            let size = of_type.size(&self.structs);
            layout.known.push((offset, size, of_type));
            members.push((member.name, offset, of_type));
        }
        for (offset, size, of_type) in std::mem::take(&mut layout.known) {
            layout.set(offset, size, false);
            if let MemberType::Struct(name) = of_type {
                for (at, is_unknown) in self.unknown.get(name).into_iter().flatten().enumerate() {
                    if *is_unknown {
                        layout.set(offset.saturating_add(at as u32), 1, true);
                    }
                }
            }
        }
        members.sort_by_key(|(_, offset, _)| *offset);
        Ok((StructDef::placed(wanted.name, of.payload, &members, &self.structs), layout.unknown))
    }

    /// The type that a member has in the kernel, if the model's fits it.
    fn fitting(
        &self,
        types: &Types<'_>,
        id: u32,
        wanted: MemberType,
        own: &[StructDef],
    ) -> Option<MemberType> {
        if let MemberType::Array(element, count) = wanted {
            let (of_element, found) = types.resolved(id)?.array()?;
            self.fitting(types, of_element, *element, own)?;
            // Without a number, or with one element that stands for more: `numbers` of `struct pid`.
            let count = if found > 1 { found } else { count };
            let is_small = element.size(&self.structs).checked_mul(count)? <= BYTES_MAX;
            return is_small.then_some(MemberType::Array(element, count));
        }
        let size = types.size(id)?;
        let fits = match wanted {
            MemberType::Struct(name) => self.get(name).is_some_and(|of| of.size == size),
            scalar => scalar.size(own) == size,
        };
        fits.then_some(wanted)
    }
}

/// The bytes of a struct.
struct Layout {
    unknown: Vec<bool>,
    known: Vec<(u32, u32, MemberType)>,
}

impl Layout {
    fn set(&mut self, offset: u32, size: u32, is_unknown: bool) {
        let bytes = self.unknown.iter_mut().skip(offset as usize).take(size as usize);
        bytes.for_each(|byte| *byte = is_unknown);
    }

    /// Adds the members for which `is_wanted` does not hold, also those of structs and unions without a name.
    fn add_unknown(
        &mut self,
        composites: &Composites<'_>,
        of: Type<'_>,
        start: u64,
        depth: usize,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), LayoutError> {
        let types = &composites.types;
        for member in types.members(of) {
            composites.charge(1)?;
            let (bits, width) = place(of, member.offset);
            let bits = start.saturating_add(bits);
            let inner = types.resolved(member.of_type).filter(|of| of.is_composite());
            match inner {
                Some(inner) if member.name.is_empty() && depth > 0 => {
                    self.add_unknown(composites, inner, bits, depth - 1, is_wanted)?;
                }
                _ if is_wanted(member.name) => {}
                _ => {
                    let size = match width {
                        0 => types.size(member.of_type).unwrap_or(0),
                        width => (bits % 8 + u64::from(width)).div_ceil(8) as u32,
                    };
                    composites.charge(size.min(of.payload))?;
                    self.set(u32::try_from(bits / 8).unwrap_or(u32::MAX), size.min(of.payload), true);
                }
            }
        }
        Ok(())
    }
}

/// The structs and unions of a kernel.
struct Composites<'a> {
    kernel: &'a KernelTypes,
    types: Types<'a>,
    /// What is left of [`BUDGET`].
    budget: Cell<u32>,
}

impl<'a> Composites<'a> {
    fn charge(&self, steps: u32) -> Result<(), LayoutError> {
        let left = self.budget.get().checked_sub(steps).ok_or(LayoutError::TooComplex)?;
        self.budget.set(left);
        Ok(())
    }

    /// The struct of this name, or the one that a typedef of this name stands for.
    fn named(&self, name: &str) -> Option<Type<'a>> {
        self.kernel.find(STRUCT, name).map(|(_, of)| of).or_else(|| {
            let (alias, _) = self.kernel.find(TYPEDEF, name)?;
            self.types.resolved(alias).filter(|of| of.is_composite())
        })
    }

    /// The offset of a member in bits, and its type. Structs and unions without a name are looked into; bit fields are left out.
    fn member(&self, of: Type<'_>, name: &str, depth: usize) -> Result<Option<(u64, u32)>, LayoutError> {
        for member in self.types.members(of) {
            self.charge(1)?;
            let (bits, width) = place(of, member.offset);
            if member.name == name {
                return Ok((width == 0).then_some((bits, member.of_type)));
            }
            let inner = self.types.resolved(member.of_type).filter(|_| member.name.is_empty() && depth > 0);
            let Some(inner) = inner else { continue };
            if let Some((offset, id)) = self.member(inner, name, depth - 1)? {
                return Ok(Some((bits.saturating_add(offset), id)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Strings, blob};
    use crate::btf_types::{ARRAY, PTR, UNION};
    use crate::{StructLayouts, btf};

    const NUMBER: MemberType = MemberType::Int { name: "int", size: 4, signed: true };
    const LONG: MemberType = MemberType::Int { name: "long", size: 8, signed: true };

    /// ```c
    /// typedef struct { int val; int more; } id_t;
    /// struct pid { int level; int numbers[1]; };
    /// struct task_struct {
    ///     int state; union { long stack; struct { id_t id; }; }; struct pid *thread_pid; int pid; short old; char comm[32]; int late;
    /// };
    /// ```
    fn kernel(long: u32) -> Vec<u8> {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let mut name = |name: &str| strings.add(name);
        let int = types.add(name("int"), INT, 0, 4, &[32]);
        let long = types.add(name("long unsigned int"), INT, 0, long, &[64]);
        let short = types.add(name("short"), INT, 0, 2, &[16]);
        let char = types.add(name("char"), INT, 0, 1, &[8]);
        let one = types.add(0, ARRAY, 0, 0, &[int, int, 1]);
        let text = types.add(0, ARRAY, 0, 0, &[char, int, 32]);
        let id = types.add(0, STRUCT, 2, 8, &[name("val"), int, 0, name("more"), int, 32]);
        let id = types.add(name("id_t"), TYPEDEF, 0, id, &[]);
        let pid = types.add(name("pid"), STRUCT, 2, 8, &[name("level"), int, 0, name("numbers"), one, 32]);
        let pid = types.add(0, PTR, 0, pid, &[]);
        let inner = types.add(0, STRUCT, 1, 8, &[name("id"), id, 0]);
        let union = types.add(0, UNION, 2, 8, &[name("stack"), long, 0, 0, inner, 0]);
        let members = [
            [name("state"), int, 0],
            [0, union, 64],
            [name("thread_pid"), pid, 128],
            [name("pid"), int, 192],
            [name("old"), short, 224],
            [name("comm"), text, 256],
            [name("late"), int, 512],
        ];
        types.add(name("task_struct"), STRUCT, members.len() as u32, 72, members.as_flattened());
        blob(&types, &strings)
    }

    fn laid_out(btf: &[u8]) -> Result<KernelStructs, LayoutError> {
        KernelStructs::of_kernel(&KernelTypes::read(btf.into()).expect("types"), &wanted())
    }

    fn wanted() -> Vec<StructDef> {
        let mut structs = vec![StructDef::new("id_t", &[("val", NUMBER)], &[])];
        structs.push(StructDef::new("pid", &[("numbers", MemberType::Array(&NUMBER, 2))], &[]));
        let task = [
            ("comm", MemberType::Array(&MemberType::Int { name: "char", size: 1, signed: true }, 16)),
            ("pid", NUMBER),
            ("old", NUMBER),
            ("no_such", LONG),
            ("id", MemberType::Struct("id_t")),
            ("thread_pid", MemberType::Pointer(&MemberType::Struct("pid"))),
        ];
        structs.push(StructDef::new("task_struct", &task, &structs));
        structs.push(StructDef::new("no_such", &task, &structs));
        structs
    }

    #[test]
    fn members_are_where_the_kernel_has_them() {
        let btf = kernel(8);
        let structs = laid_out(&btf).expect("structs");
        let names: Vec<_> = structs.all().iter().map(|of| of.name).collect();
        assert_eq!(names, ["id_t", "pid", "task_struct"]);
        let layouts = StructLayouts::read(&btf).expect("BTF");
        for path in ["task_struct.comm", "task_struct.pid", "task_struct.id.val", "task_struct.thread_pid"] {
            let found = StructDef::find(structs.all(), path).map(|(offset, _)| offset);
            assert_eq!(found, layouts.offset(path).ok(), "{path}");
        }
        let task = structs.get("task_struct").expect("a struct");
        assert_eq!(task.size, 72);
        // One is in another size there.
        assert_eq!([task.member("old"), task.member("no_such")], [None; 2]);
        let size =
            |path| StructDef::find(structs.all(), path).map(|(_, of_type)| of_type.size(structs.all()));
        assert_eq!(size("task_struct.comm"), Some(32));
        // The last member has room for one more element.
        assert_eq!(structs.get("pid").map(|of| of.size), Some(12));
    }

    #[test]
    fn what_the_model_does_not_have_is_not_modelled() {
        let structs = laid_out(&kernel(8)).expect("structs");
        let cases = [
            (0..4, false, "state"),
            (4..8, true, "padding"),
            (8..12, true, "id.val"),
            (12..16, false, "id.more"),
            (8..16, false, "id"),
            (16..24, true, "thread_pid"),
            (24..28, true, "pid"),
            (24..30, false, "pid and old"),
            (28..30, false, "old"),
            (32..64, true, "comm"),
            (64..68, false, "late"),
            (72..80, true, "after it"),
        ];
        for (bytes, expected, what) in cases {
            assert_eq!(structs.is_modelled("task_struct", bytes), expected, "{what}");
        }
        assert!(structs.knows_some("task_struct", 8..16));
        assert!(!structs.knows_some("task_struct", 12..16));
        assert!(!structs.knows_some("task_struct", 12..12));
        assert!(structs.is_modelled("no_such", 0..8) && structs.knows_some("no_such", 0..8));
    }

    #[test]
    fn structs_inside_of_themselves_are_an_error() {
        // struct task_struct { struct task_struct; struct task_struct; … };
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let id = 1;
        types.add(strings.add("task_struct"), STRUCT, 100, 8, [[0, id, 0]; 100].as_flattened());
        assert_eq!(laid_out(&blob(&types, &strings)), Err(LayoutError::TooComplex));
    }

    #[test]
    fn members_that_overlap_too_often_are_an_error() {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let char = types.add(strings.add("char"), INT, 0, 1, &[8]);
        let array = types.add(0, ARRAY, 0, 0, &[char, char, BYTES_MAX]);
        let member = [strings.add("large"), array, 0];
        types.add(strings.add("task_struct"), STRUCT, 100, BYTES_MAX, [member; 100].as_flattened());
        assert_eq!(laid_out(&blob(&types, &strings)), Err(LayoutError::TooComplex));
    }

    #[test]
    fn the_types_of_another_machine_are_rejected() {
        assert_eq!(laid_out(&kernel(4)), Err(LayoutError::PointerSize { bytes: 4 }));
        let other = crate::struct_btf(&wanted()[..2]);
        let missing = LayoutError::Missing("struct task_struct".to_owned());
        assert_eq!(laid_out(&other), Err(missing));
    }
}
