//! The text in which a node keeps its state: `name=value`, separated by spaces.

use std::collections::BTreeMap;

/// What such a text says, taken out field by field. Errors are sentences for people.
///
/// *Realtime-safe: no*, all of it.
#[derive(Clone, Debug)]
pub struct Fields<'t> {
    left: BTreeMap<&'t str, &'t str>,
}

impl<'t> Fields<'t> {
    /// Refuses what is no `name=value`, and a name that comes twice.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        let mut left = BTreeMap::new();
        for field in text.split_whitespace() {
            let (name, value) = field.split_once('=').ok_or_else(|| format!("“{field}” has no value"))?;
            if left.insert(name, value).is_some() {
                return Err(format!("“{name}” is said twice"));
            }
        }
        Ok(Self { left })
    }

    /// A finite number; `default` where the text does not name it.
    pub fn number(&mut self, name: &str, default: f32) -> Result<f32, String> {
        let Some(text) = self.left.remove(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number: &f32| number.is_finite());
        number.ok_or_else(|| format!("“{name}” is “{text}”, which is no number"))
    }

    /// One of these, by its name.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let text = self.left.remove(name).ok_or_else(|| format!("“{name}” is missing"))?;
        let choice = choices.iter().find(|(choice, _)| *choice == text);
        choice.map(|(_, choice)| *choice).ok_or_else(|| format!("“{name}” is “{text}”, which is unknown"))
    }

    /// Refuses what nobody took out.
    pub fn finish(self) -> Result<(), String> {
        match self.left.keys().next() {
            Some(name) => Err(format!("“{name}” is unknown")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(f32, bool), String> {
        let mut fields = Fields::parse(text)?;
        let read =
            (fields.number("gain", 1.0)?, fields.choice("phase", &[("same", false), ("other", true)])?);
        fields.finish()?;
        Ok(read)
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |text, expected: Result<(f32, bool), &str>| {
            assert_eq!(read(text), expected.map_err(str::to_owned), "{text}");
        };
        check("phase=other gain=-0.25", Ok((-0.25, true)));
        check("  phase=same\n", Ok((1.0, false)));
        check("gain=1", Err("“phase” is missing"));
        check("phase=third", Err("“phase” is “third”, which is unknown"));
        check("phase=same gain=loud", Err("“gain” is “loud”, which is no number"));
        check("phase=same gain=NaN", Err("“gain” is “NaN”, which is no number"));
        check("phase=same gain=1e39", Err("“gain” is “1e39”, which is no number"));
        check("phase=same gain", Err("“gain” has no value"));
        check("phase=same phase=same", Err("“phase” is said twice"));
        check("phase=same pan=0", Err("“pan” is unknown"));
    }

    #[test]
    fn any_number_is_read_as_it_was_written() {
        for number in [0.0, -0.0, 0.1, 1.0 / 3.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, -16.0, 19_999.998] {
            let text = format!("gain={number}");
            let read = Fields::parse(&text).unwrap().number("gain", 1.0).unwrap();
            assert_eq!(read.to_bits(), f32::to_bits(number), "{text}");
        }
    }
}
