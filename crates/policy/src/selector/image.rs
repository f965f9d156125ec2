//! Names of images: what is left out of a name, as in `nginx`, and the name in full.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A name of an image in full, such as `docker.io/library/nginx:latest`.
///
/// A short name gets what Docker adds to it (`ParseNormalizedNamed()` and `TagNameOnly()` of
/// github.com/distribution/reference): the registry `docker.io`, there `library/` where a repository has no `/`, and the tag
/// `latest` if there is neither a tag nor a digest. Nothing is dropped.
///
/// ```
/// use knobgate_policy::selector::ImageReference;
///
/// let image: ImageReference = "nginx".parse()?;
/// assert_eq!(image.to_string(), "docker.io/library/nginx:latest");
/// let image: ImageReference = "localhost:5000/web/shop:1.2".parse()?;
/// assert_eq!((image.host(), image.repository(), image.tag()), ("localhost:5000", "web/shop", Some("1.2")));
/// # Ok::<(), knobgate_policy::selector::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text does not name an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing before the tag or the digest.
    #[error("the image has no name")]
    NoName,
    /// Something else than a host with, perhaps, a port before the first `/`.
    #[error("the part before the first `/` is not a registry's host")]
    Host,
    /// Upper-case letters in the repository.
    #[error("the repository of an image is in lower case")]
    UpperCase,
    /// Another character, or two separators next to each other, in the repository.
    #[error(
        "the name of an image consists of lower-case letters, digits and, between them, `/`, `.`, `_` and `-`"
    )]
    Repository,
    /// More than 255 bytes in the repository.
    #[error("the repository of an image has at most 255 bytes")]
    TooLong,
    /// A tag with other characters, or too long.
    #[error("a tag has at most 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`")]
    Tag,
    /// Not `ALGORITHM:HEX`.
    #[error("a digest is an algorithm and hexadecimal digits: `sha256:…`")]
    Digest,
}

/// The registry of names without one.
const DOCKER_HUB: &str = "docker.io";
/// The repositories of that without an owner.
const OFFICIAL: &str = "library/";
/// The longest repository, without its registry (`RepositoryNameTotalLengthMax`).
const REPOSITORY_MAX: usize = 255;

impl ImageReference {
    /// The host of the registry, perhaps with a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository on that host.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. Without a digest there always is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for ImageReference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
            None => (rest, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((first, repository)) if is_host_like(first) => (first, repository),
            _ => (DOCKER_HUB, name),
        };
        let host = if host == "index.docker.io" { DOCKER_HUB } else { host };
        let official = host == DOCKER_HUB && !repository.contains('/');
        let repository = format!("{}{repository}", if official { OFFICIAL } else { "" });
        match () {
            () if name.is_empty() => return Err(ImageError::NoName),
            () if !is_host(host) => return Err(ImageError::Host),
            () if repository.contains(|c: char| c.is_ascii_uppercase()) => return Err(ImageError::UpperCase),
            () if !is_repository(&repository) => return Err(ImageError::Repository),
            () if repository.len() > REPOSITORY_MAX => return Err(ImageError::TooLong),
            () if tag.is_some_and(|tag| !is_tag(tag)) => return Err(ImageError::Tag),
            () if digest.is_some_and(|digest| !is_digest(digest)) => return Err(ImageError::Digest),
            () => {}
        }
        let tag = tag.or(digest.is_none().then_some("latest")).map(str::to_owned);
        Ok(Self { host: host.to_owned(), repository, tag, digest: digest.map(str::to_owned) })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The name in full of what an engine says is the image. An id, and what names no image, stays as it is.
pub(super) fn in_full(image: &[u8]) -> Cow<'_, [u8]> {
    let reference = str::from_utf8(image).ok().filter(|text| !is_id(text)).and_then(|text| text.parse().ok());
    match reference {
        Some(reference) => Cow::Owned(ImageReference::to_string(&reference).into_bytes()),
        None => Cow::Borrowed(image),
    }
}

/// Whether this is the id of an image, not a name.
pub(super) fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What `start`, with which the names of the images begin that are meant, is in full; `None` if names in full can begin
/// with it. `is_glob` says that `start` goes on with a wildcard somewhere.
pub(super) fn start_in_full(start: &str, is_glob: bool) -> Option<String> {
    let is_wild = |text: &str| is_glob && text.contains(['*', '?', '[', '{']);
    let Some((first, rest)) = start.split_once('/') else {
        let before_port = start.split_once(':').map_or(start, |(host, _)| host);
        let begins_a_host = before_port.contains('.')
            || before_port.starts_with('[')
            || "localhost".starts_with(before_port)
            || is_glob && start.starts_with(['*', '?', '{']);
        return (!begins_a_host).then(|| format!("{DOCKER_HUB}/{OFFICIAL}{start}"));
    };
    if !is_host_like(first) && !is_wild(first) {
        return Some(format!("{DOCKER_HUB}/{start}"));
    }
    let is_hub = matches!(first, DOCKER_HUB | "index.docker.io");
    let official = is_hub && !rest.contains('/') && rest.contains([':', '@']);
    let in_full = format!("{}/{}{rest}", DOCKER_HUB, if official { OFFICIAL } else { "" });
    (is_hub && in_full != start).then_some(in_full)
}

/// Whether the part before the first `/` is a registry, not the owner of a repository (`splitDockerDomain()`).
fn is_host_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(|c: char| c.is_ascii_uppercase())
}

/// `DomainRegexp`: names or an address, perhaps with a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_address = |inside: &str| {
        !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    };
    port.is_none_or(is_port)
        && match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) => is_address(inside),
            None => host.split('.').all(is_name),
        }
}

/// `remoteName`: components of lower-case letters and digits, with one `.`, one or two `_`, or some `-` between them.
fn is_repository(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    text.split('/').all(|component| {
        let bytes = component.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        let separators = bytes.split(is_alphanumeric);
        ends.iter().all(|end| end.is_some_and(is_alphanumeric))
            && separators.filter(|separator| !separator.is_empty()).all(|separator| {
                matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
            })
    })
}

/// `TagRegexp`
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// `DigestRegexp`
fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
        && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
        && digits.len() >= 32
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";

    #[test]
    fn a_short_name_gets_what_docker_adds() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("library/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("host:5000/x", "host:5000/x:latest"),
            ("host:5000/x:1", "host:5000/x:1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("registry.example/web/nginx:1.27", "registry.example/web/nginx:1.27"),
            ("HOST/x", "HOST/x:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest"),
        ] {
            assert_eq!(
                short.parse::<ImageReference>().map(|image| image.to_string()),
                Ok(full.to_owned()),
                "{short}"
            );
            assert_eq!(in_full(full.as_bytes()), full.as_bytes(), "it is in full");
        }
        for (short, full) in [("nginx", "docker.io/library/nginx"), ("nginx:1", "docker.io/library/nginx:1")]
        {
            let (short, full) = (format!("{short}@{DIGEST}"), format!("{full}@{DIGEST}"));
            assert_eq!(in_full(short.as_bytes()), full.as_bytes(), "a digest drops nothing and adds nothing");
        }
    }

    #[test]
    fn what_names_no_image_stays_as_it_is() {
        for text in [DIGEST, &DIGEST[7..], "", "NGINX:1", "a//b", "\u{e9}"] {
            assert_eq!(in_full(text.as_bytes()), text.as_bytes());
        }
        assert_eq!(in_full(b"ngin\xff"), &b"ngin\xff"[..]);
    }

    #[test]
    fn wrong_names_are_errors() {
        for (text, error) in [
            ("", ImageError::NoName),
            (":1", ImageError::NoName),
            ("@sha256:00", ImageError::NoName),
            ("Nginx", ImageError::UpperCase),
            ("registry.example/Web", ImageError::UpperCase),
            ("-a.example/x", ImageError::Host),
            ("host:port/x", ImageError::Host),
            ("a___b", ImageError::Repository),
            ("a..b", ImageError::Repository),
            ("a/", ImageError::Repository),
            ("a b", ImageError::Repository),
            ("nginx-*", ImageError::Repository),
            ("nginx:", ImageError::Tag),
            ("nginx:-1", ImageError::Tag),
            ("nginx:1*", ImageError::Tag),
            ("nginx@sha256:12", ImageError::Digest),
            ("nginx@latest", ImageError::Digest),
        ] {
            assert_eq!(text.parse::<ImageReference>(), Err(error), "{text}");
        }
        // `library/` counts, and the registry does not.
        assert!("a".repeat(247).parse::<ImageReference>().is_ok());
        assert_eq!("a".repeat(248).parse::<ImageReference>(), Err(ImageError::TooLong));
        assert!(format!("registry.example/{}", "a".repeat(255)).parse::<ImageReference>().is_ok());
    }

    #[test]
    fn a_start_without_a_registry_gets_one() {
        for (start, full) in [
            ("nginx", Some("docker.io/library/nginx")),
            ("nginx:1.27", Some("docker.io/library/nginx:1.27")),
            ("bitnami/", Some("docker.io/bitnami/")),
            ("docker.io/nginx:", Some("docker.io/library/nginx:")),
            ("index.docker.io/library/n", Some("docker.io/library/n")),
            ("docker.io/", None),
            ("docker.io/ngi", None),
            ("registry.ex", None),
            ("registry.example/web/nginx:", None),
            ("host:5000/", None),
            ("local", None),
            ("localhost/", None),
            ("", None),
        ] {
            assert_eq!(start_in_full(start, false).as_deref(), full, "{start}");
        }
        for (glob, full) in [
            ("nginx*", Some("docker.io/library/nginx*")),
            ("nginx:1.*", Some("docker.io/library/nginx:1.*")),
            ("bitnami/*", Some("docker.io/bitnami/*")),
            ("*nginx*", None),
            ("reg*/web", None),
            ("{a,b}.example/x", None),
            ("*.example/x", None),
        ] {
            assert_eq!(start_in_full(glob, true).as_deref(), full, "{glob}");
        }
    }
}
