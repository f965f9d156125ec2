//! The texts that a selector compares fields with.

use super::image::{ImageError, ImageReference, is_id, start_in_full};
use super::{Engine, SelectorField};
use crate::{PolicyError, Text, TextGlob};

/// How a field is compared with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It is this text.
    Whole,
    /// It begins with it.
    Start,
}

/// A text that a field never has.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) error: PolicyError,
    /// What may have been meant.
    pub(crate) fix: Option<Text>,
}

/// The text as the field has it: the name of an image in full.
pub(crate) fn checked(field: &SelectorField, how: Comparison, text: &Text) -> Result<Text, Invalid> {
    match (field, how) {
        (SelectorField::Cgroup, _) => check_path(how, text.as_bytes()).map(|()| text.clone()),
        (SelectorField::Unit, Comparison::Whole) => check_unit(text.as_bytes()).map(|()| text.clone()),
        (SelectorField::Image, Comparison::Whole) => whole_image(text),
        (SelectorField::Image, Comparison::Start) => match str::from_utf8(text.as_bytes()) {
            Ok(start) => check_start(start, false).map(|()| text.clone()),
            Err(_) => Ok(text.clone()),
        },
        (SelectorField::Engine, _) => {
            let name = str::from_utf8(text.as_bytes()).ok();
            match name.and_then(Engine::from_name) {
                Some(_) => Ok(text.clone()),
                None => Err(Invalid { error: PolicyError::NoSuchEngine { name: text.clone() }, fix: None }),
            }
        }
        _ => Ok(text.clone()),
    }
}

/// Checks a glob for a field other than `cgroup`.
pub(crate) fn check_glob(field: &SelectorField, glob: &TextGlob) -> Result<(), Invalid> {
    if *field == SelectorField::Image { check_start(&glob.to_string(), true) } else { Ok(()) }
}

fn whole_image(text: &Text) -> Result<Text, Invalid> {
    let Ok(name) = str::from_utf8(text.as_bytes()) else {
        return Err(Invalid { error: PolicyError::BadImage(ImageError::Repository), fix: None });
    };
    // Nothing is the image of what is no container.
    if name.is_empty() || is_id(name) {
        return Ok(text.clone());
    }
    match name.parse::<ImageReference>() {
        Ok(image) => Ok(image.to_string().as_str().into()),
        Err(error) => {
            let lower = (error == ImageError::UpperCase).then(|| in_lower_case(name));
            let fix = lower.filter(|name| name.parse::<ImageReference>().is_ok());
            Err(Invalid { error: PolicyError::BadImage(error), fix: fix.map(|name| name.as_str().into()) })
        }
    }
}

/// The name of an image in lower case, without its tag and digest, whose case matters.
fn in_lower_case(image: &str) -> String {
    let without_digest = image.find('@').unwrap_or(image.len());
    let last = image[..without_digest].rfind('/').map_or(0, |slash| slash + 1);
    let end = image[last..without_digest].find(':').map_or(without_digest, |colon| last + colon);
    image[..end].to_ascii_lowercase() + &image[end..]
}

fn check_start(start: &str, is_glob: bool) -> Result<(), Invalid> {
    match start_in_full(start, is_glob) {
        None => Ok(()),
        Some(full) => {
            let fix = Some(full.as_str().into());
            Err(Invalid { error: PolicyError::NoRegistry, fix })
        }
    }
}

/// Every unit has a type. One that is known to be none is empty.
fn check_unit(name: &[u8]) -> Result<(), Invalid> {
    if name.is_empty() || name.contains(&b'.') {
        return Ok(());
    }
    Err(Invalid { error: PolicyError::UnitWithoutType, fix: Some(Text::from([name, b".service"].concat())) })
}

fn check_path(how: Comparison, path: &[u8]) -> Result<(), Invalid> {
    let error = |error, fix: Option<Vec<u8>>| Err(Invalid { error, fix: fix.map(Text::from) });
    if !path.starts_with(b"/") {
        return error(PolicyError::RelativePath, (!path.is_empty()).then(|| [b"/", path].concat()));
    }
    if how == Comparison::Whole && path.len() > 1 && path.ends_with(b"/") {
        return error(PolicyError::PathEndsInSlash, Some(path[..path.len() - 1].to_vec()));
    }
    Ok(())
}
