//! Programs as bytes, so that any bytes are a program.
//!
//! One byte for the kernel, one for the attach type, one for the number of maps; 12 for each map; the rest are
//! instructions. Loads of a map or of its value refer to it by number.

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{InnerMap, Insn, MapDef, MapKind, MapReference, Program, Relocation, encode, opcode};
use knobgate_hook::Profile;

/// A program with its load options.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) profile: Profile,
    pub(crate) expected_attach_type: u32,
    pub(crate) program: Program,
}

pub(crate) const HEADER_BYTES: usize = 3;
pub(crate) const MAP_BYTES: usize = 12;
pub(crate) const INSN_BYTES: usize = 8;
const MAPS_MAX: usize = 6;

/// The offset of the instructions.
pub(crate) fn insns_start(bytes: &[u8]) -> usize {
    let maps = bytes.get(2).map_or(0, |count| usize::from(*count) % (MAPS_MAX + 1));
    (HEADER_BYTES + maps * MAP_BYTES).min(bytes.len())
}

impl Input {
    /// A program for this kernel, without the parts that the bytes do not have.
    pub(crate) fn of(program: &Program, profile: &Profile) -> Self {
        Self { profile: *profile, expected_attach_type: BPF_CGROUP_SYSCTL, program: program.clone() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let profile = Profile::ALL.iter().position(|profile| *profile == self.profile).expect("a known one");
        let maps = &self.program.maps[..self.program.maps.len().min(MAPS_MAX)];
        let mut bytes = vec![profile as u8, self.expected_attach_type as u8, maps.len() as u8];
        for def in maps {
            let kind = kinds().position(|kind| kind == def.kind).expect("a known one");
            bytes.extend([kind as u8, def.flags as u8 & !1 | u8::from(def.frozen)]);
            bytes.extend((def.key_size as u16).to_le_bytes());
            bytes.extend(def.value_size.to_le_bytes());
            bytes.extend(def.max_entries.to_le_bytes());
        }
        let mut insns = self.program.insns.clone();
        for relocation in &self.program.relocations {
            let (source, low, high) = match relocation.target {
                MapReference::Map => (opcode::PSEUDO_MAP_FD, relocation.map as i32, 0),
                MapReference::Value(offset) => {
                    (opcode::PSEUDO_MAP_VALUE, relocation.map as i32, offset as i32)
                }
            };
            insns[relocation.insn] = insns[relocation.insn].with_src(source).with_imm(low);
            insns[relocation.insn + 1] = insns[relocation.insn + 1].with_imm(high);
        }
        bytes.extend(encode(&insns));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
        let start = insns_start(bytes);
        let header = bytes.get(HEADER_BYTES..start).unwrap_or_default();
        let maps: Vec<MapDef> = header.as_chunks::<MAP_BYTES>().0.iter().map(map).collect();
        let (insns, _) = bytes[start..].as_chunks::<INSN_BYTES>();
        let insns: Vec<Insn> = insns.iter().map(insn).collect();
        let relocation = |(index, insn): (usize, &Insn)| {
            let map = usize::try_from(insn.imm).ok()?;
            let second = insns.get(index + 1).map_or(0, |insn| insn.imm);
            let target = match insn.src() {
                opcode::PSEUDO_MAP_FD => MapReference::Map,
                opcode::PSEUDO_MAP_VALUE => MapReference::Value(second as u32),
                _ => return None,
            };
            insn.is_load_imm64().then_some(Relocation { insn: index, map, target })
        };
        let relocations = insns.iter().enumerate().filter_map(relocation).collect();
        let profile = Profile::ALL[usize::from(at(0)) % Profile::ALL.len()];
        let inner_maps = inner_maps(&maps);
        let name = "fuzz".to_owned();
        let program = Program { name, insns, maps, relocations, inner_maps, ..Program::default() };
        Self { profile, expected_attach_type: at(1).into(), program }
    }
}

/// The kinds that the model has. Inputs count them, so what is added comes last.
fn kinds() -> impl Iterator<Item = MapKind> + Clone {
    let modelled = MapKind::ALL.iter().copied().filter(|kind| kind.is_modelled());
    let (without, with) = (modelled.clone(), modelled);
    without.filter(|kind| !kind.has_inner_maps()).chain(with.filter(|kind| kind.has_inner_maps()))
}

/// What the maps in others are like.
fn inner_map() -> MapDef {
    MapDef {
        name: "inner".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 2,
        ..MapDef::default()
    }
}

/// Every map that can be in others is in all of them, under its number.
fn inner_maps(maps: &[MapDef]) -> Vec<InnerMap> {
    let numbered = || maps.iter().enumerate();
    let outer = numbered().filter(|(_, map)| map.kind.has_inner_maps() && map.key_size == 4);
    let inner = || numbered().filter(|(_, map)| inner_map().differences(map).is_none() && !map.frozen);
    let all = outer.flat_map(|(outer, def)| {
        let fits = move |map: &usize| *map < def.max_entries as usize;
        inner().map(|(map, _)| map).filter(fits).map(move |map| InnerMap { outer, key: map as u32, map })
    });
    all.collect()
}

fn map(bytes: &[u8; MAP_BYTES]) -> MapDef {
    let [kind, flags, k0, k1, v0, v1, v2, v3, e0, e1, e2, e3] = *bytes;
    let kind = kinds().cycle().nth(kind.into()).expect("there are some");
    MapDef {
        name: "m".to_owned(),
        kind,
        inner: kind.has_inner_maps().then(|| Box::new(inner_map())),
        key_size: u16::from_le_bytes([k0, k1]).into(),
        value_size: u32::from_le_bytes([v0, v1, v2, v3]),
        max_entries: u32::from_le_bytes([e0, e1, e2, e3]),
        flags: u32::from(flags & !1),
        contents: Vec::new(),
        frozen: flags & 1 == 1,
        ..MapDef::default()
    }
}

fn insn(bytes: &[u8; INSN_BYTES]) -> Insn {
    let [opcode, registers, o0, o1, i0, i1, i2, i3] = *bytes;
    let (dst, src) = (registers & 0xf, registers >> 4);
    Insn::new(opcode, dst, src, i16::from_le_bytes([o0, o1]), i32::from_le_bytes([i0, i1, i2, i3]))
}
