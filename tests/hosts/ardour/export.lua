-- Opens a session as it was saved under NAME, exports its first FRAMES to NAME.wav in FOLDER, and closes it as it was.
-- Environment: SESSION, NAME, FOLDER, FRAMES, and PRESET, what exports are.

local name = os.getenv("NAME")
assert(AudioEngine:set_backend("None (Dummy)", "", ""))
assert(AudioEngine:set_device_name("Silence") == 0)
local session = load_session(os.getenv("SESSION"), name)
assert(session)
print("latency", session:route_by_name("Take"):signal_latency())
local export = session:simple_export()
assert(export:set_preset(os.getenv("PRESET")), "the preset is not found")
export:set_range(0, tonumber(os.getenv("FRAMES")))
export:set_folder(os.getenv("FOLDER"))
export:set_name(name)
assert(export:run_export(), "the export failed")
close_session()
print("exported")
