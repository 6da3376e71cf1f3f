-- Opens the session that make.lua made and touches nothing. Says so; whether the track Here is quiet yet by Ardour's own
-- meter, and when it sounds; and saves and closes the session when a line is read.
-- Environment: SESSION.

local QUIET_DB, LOOK_EVERY_US, PATIENCE_LOOKS = -60, 10000, 6000

assert(AudioEngine:set_backend("None (Dummy)", "", ""))
assert(AudioEngine:set_device_name("Uniform White Noise") == 0)
local session = load_session(os.getenv("SESSION"), "first")
assert(session)

local function say(words)
	print(words)
	io.flush()
end

say("open")
local meter = session:route_by_name("Here"):peak_meter()
-- Receive has an output of notes, which the meter counts first.
local LEFT = 1

local function sounds()
	return meter:meter_level(LEFT, ARDOUR.MeterType.MeterPeak) > QUIET_DB
end

if not sounds() then say("quiet") end
for _ = 1, PATIENCE_LOOKS do
	if sounds() then
		say("sounds")
		break
	end
	ARDOUR.LuaAPI.usleep(LOOK_EVERY_US)
end
io.read()
session:save_state("")
close_session()
print("closed")
