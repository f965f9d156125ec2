//! Definitions of maps in `.maps`, which the types of variables describe: `bpf_helpers.h` of libbpf has the macros for them.

use super::map_types::MapTypes;
use crate::btf_types::{ARRAY, FUNC_PROTO, Member, PTR, STRUCT, Type, Types};
use crate::{MapDef, MapKind, MapSupport, SpecialField, map_flag_names};

/// More attributes than any map has.
const MEMBERS_MAX: usize = 64;

/// The smallest page size; ring buffers are multiples of pages.
const PAGE_BYTES: u32 = 4096;

/// `LIBBPF_PIN_BY_NAME`
const PIN_BY_NAME: u32 = 1;

/// The fields of values that only kernel functions can use.
const GRAPH_FIELDS: [&str; 5] =
    ["bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node", "bpf_refcount"];

/// A definition.
pub(super) struct Definition {
    pub(super) def: MapDef,
    pub(super) types: ElementTypes,
    /// Those of the maps in it.
    pub(super) inner_types: ElementTypes,
    /// Where the initial contents of an array of programs, or of an array or a hash of maps, begin, in bytes from the beginning
    /// of the variable.
    pub(super) values: Option<usize>,
}

/// The types of keys and values.
#[derive(Debug, Clone, Default)]
pub(super) struct ElementTypes {
    /// The number of that of keys; 0 for none.
    pub(super) key: u32,
    /// The number of that of values; 0 for none.
    pub(super) value: u32,
    /// The fields of values that the kernel manages.
    pub(super) special_fields: Vec<SpecialField>,
}

/// The numbers that define a map.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) kind: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

impl Definition {
    /// Reads a definition as `libbpf` has them: every attribute is a member of the struct, and numbers are lengths of arrays.
    ///
    /// # Errors
    ///
    /// What is not supported about it.
    pub(super) fn parse(
        types: &Types<'_>,
        kept: &mut MapTypes<'_, '_>,
        definition: Type<'_>,
        name: &str,
    ) -> Result<Self, String> {
        Self::parse_nested(types, kept, definition, name, None)
    }

    /// The same; a map in the map `outer` has less.
    fn parse_nested(
        types: &Types<'_>,
        kept: &mut MapTypes<'_, '_>,
        definition: Type<'_>,
        name: &str,
        outer: Option<&str>,
    ) -> Result<Self, String> {
        if types.member_count(definition) > MEMBERS_MAX {
            return Err(format!("the map {name} has too many attributes"));
        }
        let mut numbers = Numbers::default();
        let (mut map_extra, mut pinning) = (0, 0);
        let (mut key, mut value, mut values) = (0, 0, None);
        for member in types.members(definition) {
            let bad = || format!("the map {name}: its {} cannot be read", member.name);
            let number = || number_of(types, &member).ok_or_else(bad);
            let pointee = || pointee_of(types, &member).ok_or_else(bad);
            let size = |id| types.size(id).ok_or_else(bad);
            // A size may be given twice, by the type and as a number.
            let agree = |before: u32, size: u32| match before {
                0 => Ok(size),
                _ if before == size => Ok(size),
                _ => Err(format!(
                    "the map {name} contradicts itself: {size} bytes by its \"{}\", {before} by another attribute",
                    member.name
                )),
            };
            match member.name {
                "type" => numbers.kind = number()?,
                "key" => {
                    key = pointee()?;
                    numbers.key_size = agree(numbers.key_size, size(key)?)?;
                }
                "key_size" => numbers.key_size = agree(numbers.key_size, number()?)?,
                "value" => {
                    value = pointee()?;
                    numbers.value_size = agree(numbers.value_size, size(value)?)?;
                }
                "value_size" => numbers.value_size = agree(numbers.value_size, number()?)?,
                "max_entries" => numbers.max_entries = number()?,
                "map_flags" => numbers.flags = number()?,
                "map_extra" => map_extra = long_number_of(types, &member).ok_or_else(bad)?,
                "pinning" if outer.is_some() => {
                    return Err(format!("the map {name} cannot be pinned: it is in another one"));
                }
                "pinning" => pinning = number()?,
                "values" => {
                    numbers.value_size = agree(numbers.value_size, 4)?;
                    values = Some(member);
                }
                other => {
                    return Err(format!(
                        "the map {name} has the attribute \"{other}\", which is not supported"
                    ));
                }
            }
        }
        let mut def = define(name, &numbers)?;
        def.map_extra = map_extra;
        def.pinned_by_name = match pinning {
            0 => false,
            PIN_BY_NAME => true,
            _ => return Err(format!("the map {name} wants to be pinned in an unknown way ({pinning})")),
        };
        let mut made = Self {
            def,
            types: ElementTypes {
                key: kept.keep(key),
                value: kept.keep(value),
                special_fields: kept.special_fields(value),
            },
            inner_types: ElementTypes::default(),
            values: values.as_ref().map(|member| member.offset as usize / 8),
        };
        match made.def.kind {
            MapKind::ProgArray
                if outer.is_none()
                    && values.as_ref().is_some_and(|member| !points_to_functions(types, member)) =>
            {
                return Err(format!(
                    "the map {name} (prog_array) starts with something else than programs: it needs __array(values, int (void *))"
                ));
            }
            MapKind::ProgArray if outer.is_none() => {}
            kind if kind.has_inner_maps() => {
                if let Some(outer) = outer {
                    return Err(format!(
                        "the map {outer} has maps in it that have maps in them ({}), which no kernel supports",
                        kind.name()
                    ));
                }
                let missing = || {
                    format!(
                        "the map {name} ({}) does not say what its maps are like: it needs __array(values, struct {{ … }})",
                        kind.name()
                    )
                };
                let inner = values.and_then(|member| element_of(types, &member)).ok_or_else(missing)?;
                let inner_name = format!("{name}.inner");
                let inner = Self::parse_nested(types, kept, inner, &inner_name, Some(name))?;
                made.inner_types = inner.types;
                made.def.inner = Some(Box::new(inner.def));
            }
            _ if values.is_some() => return Err(format!("the map {name} has values that it starts with")),
            _ => {}
        }
        Ok(made)
    }
}

/// The map of these numbers.
///
/// # Errors
///
/// What is not supported about it.
pub(super) fn define(name: &str, numbers: &Numbers) -> Result<MapDef, String> {
    let Numbers { kind, key_size, value_size, mut max_entries, flags } = *numbers;
    let kind = MapKind::from_number(kind)
        .ok_or_else(|| format!("the map {name} is of type {kind}, which Linux 6.18 does not have"))?;
    if let MapSupport::Unsupported { reason } = kind.support() {
        return Err(format!("the map {name} is of type {}, which is not supported: {reason}", kind.name()));
    }
    let lacking = kind.implied_flags() & !flags;
    if lacking != 0 {
        return Err(format!(
            "the map {name} ({}) lacks the flag {}, without which the kernel rejects it",
            kind.name(),
            map_flag_names(lacking)
        ));
    }
    if let MapKind::Ringbuf | MapKind::UserRingbuf = kind {
        max_entries = ring_bytes(max_entries);
    }
    Ok(MapDef { name: name.to_owned(), kind, key_size, value_size, max_entries, flags, ..MapDef::default() })
}

/// The bytes of a ring buffer that has at least this many, a power of two and whole pages; as many as are asked for if that is none,
/// or too much (`adjust_ringbuf_sz` in libbpf). The kernel then rejects it.
fn ring_bytes(asked: u32) -> u32 {
    if asked == 0 { 0 } else { asked.max(PAGE_BYTES).checked_next_power_of_two().unwrap_or(asked) }
}

/// Checks the fields of values that the kernel manages.
///
/// # Errors
///
/// What is not supported about it.
pub(super) fn check_special_fields(def: &MapDef) -> Result<(), String> {
    let fields = def.btf.iter().flat_map(|btf| &btf.special_fields);
    match fields.into_iter().find(|field| GRAPH_FIELDS.contains(&field.type_name)) {
        Some(field) => Err(format!(
            "the values of the map {} have a {}, which is not supported: it needs objects that programs allocate",
            def.name, field.type_name
        )),
        None => Ok(()),
    }
}

/// Whether maps of this kind are created with the types of their keys and values. The kernel rejects them for others, or does
/// without.
pub(super) fn has_types(kind: MapKind) -> bool {
    !matches!(
        kind,
        MapKind::PerfEventArray
            | MapKind::CgroupArray
            | MapKind::ArrayOfMaps
            | MapKind::HashOfMaps
            | MapKind::Queue
            | MapKind::Stack
            | MapKind::Ringbuf
            | MapKind::UserRingbuf
    )
}

/// `int (*name)[NUMBER]`
fn number_of(types: &Types<'_>, member: &Member<'_>) -> Option<u32> {
    let array = types.resolved(pointee_of(types, member)?).filter(|of| of.kind == ARRAY)?;
    types.length(array)
}

/// The same, or `enum { UNIQUE = NUMBER } name` for numbers that are no length of an array.
fn long_number_of(types: &Types<'_>, member: &Member<'_>) -> Option<u64> {
    let of = types.resolved(member.of_type).filter(|of| of.is_enum() && of.vlen == 1);
    match of {
        Some(of) => types.enumerator(of, 0).map(|(_, value)| value as u64),
        None => number_of(types, member).map(u64::from),
    }
}

/// Whether it is `FUNCTION *name[]`.
fn points_to_functions(types: &Types<'_>, member: &Member<'_>) -> bool {
    let array = types.resolved(member.of_type).filter(|of| types.length(*of) == Some(0));
    let pointer = array.and_then(|array| types.resolved(types.element(array)?)).filter(|of| of.kind == PTR);
    pointer.and_then(|pointer| types.resolved(pointer.payload)).is_some_and(|of| of.kind == FUNC_PROTO)
}

/// `TYPE *name`
fn pointee_of(types: &Types<'_>, member: &Member<'_>) -> Option<u32> {
    types.resolved(member.of_type).filter(|of| of.kind == PTR).map(|of| of.payload)
}

/// `struct { … } *name[]`
fn element_of<'a>(types: &Types<'a>, member: &Member<'_>) -> Option<Type<'a>> {
    let array = types.resolved(member.of_type).filter(|of| of.kind == ARRAY)?;
    let pointer = types.resolved(types.element(array)?).filter(|of| of.kind == PTR)?;
    types.resolved(pointer.payload).filter(|of| of.kind == STRUCT)
}
