-- Opens the session that make.lua made, records for SECONDS, and saves.
-- Environment: SESSION, SECONDS. Prints a line when it rolls and waits for nothing.

local folder, seconds = os.getenv("SESSION"), tonumber(os.getenv("SECONDS"))
assert(AudioEngine:set_backend("None (Dummy)", "", ""))
assert(AudioEngine:set_device_name("Uniform White Noise") == 0)
local session = load_session(folder, "first")
assert(session)
local tape = session:route_by_name("Tape"):to_track()
for track in session:get_tracks():iter() do
	-- Receive has a second output, so Ardour puts a surround panner behind it: what is wanted is what came out of it.
	if not track:panner_shell():isnil() then
		track:panner_shell():set_bypassed(true)
	end
end
-- The link comes up while the transport stands still: plug-ins process all the same.
ARDOUR.LuaAPI.usleep(2000000)
tape:rec_enable_control():set_value(1, PBD.GroupControlDisposition.NoGroup)
session:maybe_enable_record(false)
session:request_roll(ARDOUR.TransportRequestSource.TRS_UI)
for _ = 1, 50 do
	if session:transport_sample() > 0 then break end
	ARDOUR.LuaAPI.usleep(100000)
end
assert(session:transport_rolling(), "the transport does not roll")
print("rolling")
io.flush()
ARDOUR.LuaAPI.usleep(seconds * 1000000)
print("rolled to", session:transport_sample())
session:request_stop(false, false, ARDOUR.TransportRequestSource.TRS_UI)
-- Ardour writes what it has recorded after the transport has stopped.
ARDOUR.LuaAPI.usleep(2000000)
session:save_state("")
close_session()
