//! The maps of a program, without their contents.

use knobgate::OBJECT_FILE_MAP;
use knobgate_bpf::MapKind;
use knobgate_kernel::Map;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable;
use crate::style::HEADING;

#[derive(Debug, Serialize)]
pub(super) struct ShownMap {
    id: u32,
    name: String,
    /// The type's name as in `bpftool`; a number if it is unknown.
    #[serde(rename = "type")]
    kind: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    /// Whether it is frozen.
    frozen: bool,
}

/// All maps but the one with the program's origin, which is shown separately.
pub(super) fn shown(maps: &[Map]) -> Vec<ShownMap> {
    let shown = maps.iter().map(|map| {
        let info = map.info();
        let kind = MapKind::from_number(info.kind);
        ShownMap {
            id: info.id,
            name: info.name,
            kind: kind.map_or_else(|| info.kind.to_string(), |kind| kind.name().to_owned()),
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            frozen: map.is_frozen().unwrap_or(false),
        }
    });
    shown.filter(|map| map.name != OBJECT_FILE_MAP).collect()
}

pub(super) fn print(maps: &[ShownMap], output: &Output) -> Result<(), Failure> {
    if maps.is_empty() {
        return output.line("\n  no maps");
    }
    output.line(format_args!(
        "\n{HEADING}     ID  MAP              TYPE                KEY  VALUE  ENTRIES{HEADING:#}"
    ))?;
    for map in maps {
        let ShownMap { id, name, kind, key_size, value_size, max_entries, frozen } = map;
        let frozen = if *frozen { "  frozen" } else { "" };
        output.line(format_args!(
            "{id:>7}  {:<15}  {kind:<16}  {key_size:>5}  {value_size:>5}  {max_entries:>7}{frozen}",
            printable(name)
        ))?;
    }
    Ok(())
}
