//! `Info.plist` and `PkgInfo`, which make a folder a bundle for macOS.

/// A loadable bundle of an unregistered creator.
pub(crate) const PACKAGE_INFO: &str = "BNDL????";

/// The property list of a bundle whose library is `Contents/MacOS/<name>`.
pub(crate) fn text(name: &str, identifier: &str, version: &str) -> String {
    let entries = [
        ("CFBundleDevelopmentRegion", "en"),
        ("CFBundleExecutable", name),
        ("CFBundleIdentifier", identifier),
        ("CFBundleInfoDictionaryVersion", "6.0"),
        ("CFBundleName", name),
        ("CFBundlePackageType", "BNDL"),
        ("CFBundleShortVersionString", version),
        ("CFBundleSignature", "????"),
        ("CFBundleVersion", version),
    ];
    let mut body = String::new();
    for (key, value) in entries {
        body.push_str(&format!("    <key>{key}</key>\n    <string>{}</string>\n", escape(value)));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n{body}    <key>NSHighResolutionCapable</key>\n    <true/>\n</dict>\n</plist>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_the_list_is_closed() {
        let list = text("a & <b>", "org.example", "1.0");
        assert!(list.contains("<string>a &amp; &lt;b&gt;</string>"));
        assert_eq!(list.matches("<key>").count(), list.matches("</key>").count());
        assert!(list.ends_with("</plist>\n"));
    }
}
