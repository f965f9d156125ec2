//! The content security policy of the page: its one script and its one style, and nothing else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// Allows these texts, byte for byte, to be the script and the style. Nothing can be loaded, sent or navigated to by a form.
pub(super) fn content(script: &str, style: &str) -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source(script),
        source(style)
    )
}

/// The hash source of a text (CSP Level 3, section 2.3.1): its SHA-256 in Base64.
fn source(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_source_is_the_hash_of_the_text() {
        // As `printf abc | openssl dgst -sha256 -binary | base64` has it.
        assert_eq!(super::source("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
