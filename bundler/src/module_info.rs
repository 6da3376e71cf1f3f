//! `moduleinfo.json`: what is in a VST3 bundle, told without loading it (VST 3 SDK 3.7.5, "ModuleInfo").
//!
//! The format is JSON5; plain JSON is a subset of it. Fields keep the SDK's order, which readers of the file expect.

use serde::Serialize;

use crate::classes::{Class, URL, VENDOR};

/// nice-plug names this version in its factory; the two must agree.
const SDK_VERSION: &str = "VST 3.6.14";
/// `kSimpleModeSupported`, which nice-plug sets on every class.
const CLASS_FLAGS: u32 = 2;
/// `kManyInstances`.
const MANY_INSTANCES: i32 = i32::MAX;

#[derive(Serialize)]
struct ModuleInfo<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Version")]
    version: &'a str,
    #[serde(rename = "Factory Info")]
    factory: FactoryInfo,
    #[serde(rename = "Classes")]
    classes: Vec<ClassInfo<'a>>,
}

#[derive(Serialize)]
struct FactoryInfo {
    #[serde(rename = "Vendor")]
    vendor: &'static str,
    #[serde(rename = "URL")]
    url: &'static str,
    #[serde(rename = "E-Mail")]
    email: &'static str,
    #[serde(rename = "Flags")]
    flags: FactoryFlags,
}

#[derive(Serialize)]
struct FactoryFlags {
    #[serde(rename = "Unicode")]
    unicode: bool,
    #[serde(rename = "Classes Discardable")]
    classes_discardable: bool,
    #[serde(rename = "Component Non Discardable")]
    component_non_discardable: bool,
}

#[derive(Serialize)]
struct ClassInfo<'a> {
    #[serde(rename = "CID")]
    id: String,
    #[serde(rename = "Category")]
    category: &'static str,
    #[serde(rename = "Name")]
    name: &'static str,
    #[serde(rename = "Vendor")]
    vendor: &'static str,
    #[serde(rename = "Version")]
    version: &'a str,
    #[serde(rename = "SDKVersion")]
    sdk_version: &'static str,
    #[serde(rename = "Sub Categories")]
    sub_categories: &'a [&'static str],
    #[serde(rename = "Class Flags")]
    class_flags: u32,
    #[serde(rename = "Cardinality")]
    cardinality: i32,
    #[serde(rename = "Snapshots")]
    snapshots: [String; 0],
}

/// The file's text for a bundle `name` of `version` that exports `classes`.
pub fn text(name: &str, version: &str, classes: &[Class]) -> String {
    let info = ModuleInfo {
        name,
        version,
        factory: FactoryInfo {
            vendor: VENDOR,
            url: URL,
            email: "",
            flags: FactoryFlags {
                unicode: true,
                classes_discardable: false,
                component_non_discardable: false,
            },
        },
        classes: classes.iter().map(|class| class_info(class, version)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&info).expect("strings and numbers always serialise");
    text.push('\n');
    text
}

fn class_info<'a>(class: &'a Class, version: &'a str) -> ClassInfo<'a> {
    ClassInfo {
        id: class.id.iter().map(|byte| format!("{byte:02X}")).collect(),
        category: "Audio Module Class",
        name: class.name,
        vendor: VENDOR,
        version,
        sdk_version: SDK_VERSION,
        sub_categories: class.sub_categories,
        class_flags: CLASS_FLAGS,
        cardinality: MANY_INSTANCES,
        snapshots: [],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::{ALL, SEND};

    #[test]
    fn ids_are_the_declared_bytes_in_upper_case_hex() {
        let info: serde_json::Value = serde_json::from_str(&text("audiocloud", "1.2.3", ALL)).unwrap();
        assert_eq!(info["Classes"][0]["CID"], "617564696F636C6F756453656E643031");
        assert_eq!(info["Classes"][1]["CID"], "617564696F636C6F7564526563763031");
        assert_eq!(info["Classes"][1]["Version"], "1.2.3");
    }

    #[test]
    fn a_bundle_of_one_class_tells_of_one() {
        let info: serde_json::Value = serde_json::from_str(&text("audiocloud", "1.2.3", &[SEND])).unwrap();
        assert_eq!(info["Classes"].as_array().unwrap().len(), 1);
        assert_eq!(info["Classes"][0]["Name"], "audiocloud Send");
        assert_eq!(info["Factory Info"]["Flags"]["Unicode"], true);
    }
}
