-- Makes a session with a track, Take, and SECONDS of the dummy backend's noise recorded on it; saves it as "dry", and, with
-- Remote FX on that track, as "first". Says where the recording lies.
-- Environment: SESSION, the folder to make; SECONDS.

local PATIENCE_LOOKS, LOOK_EVERY_US = 100, 100000

local folder, seconds = os.getenv("SESSION"), tonumber(os.getenv("SECONDS"))
assert(AudioEngine:set_backend("None (Dummy)", "", ""))
assert(AudioEngine:set_device_name("Uniform White Noise") == 0)
local session = create_session(folder, "first", 48000)
assert(session)

local function wait(what, is_so)
	for _ = 1, PATIENCE_LOOKS do
		if is_so() then return end
		ARDOUR.LuaAPI.usleep(LOOK_EVERY_US)
	end
	error("never " .. what)
end

local take
for made in session:new_audio_track(2, 2, nil, 1, "Take", ARDOUR.PresentationInfo.max_order,
	ARDOUR.TrackMode.Normal, true):iter() do
	take = made
end
for channel = 0, 1 do
	take:input():audio(channel):disconnect_all()
	assert(take:input():audio(channel):connect("system:capture_" .. (channel + 1)) == 0)
end
-- What is wanted is what comes out of the plug-in.
for _, route in ipairs({ take, session:master_out() }) do
	if not route:panner_shell():isnil() then route:panner_shell():set_bypassed(true) end
end

local armed = take:to_track():rec_enable_control()
armed:set_value(1, PBD.GroupControlDisposition.NoGroup)
wait("armed", function() return armed:get_value() == 1 end)
session:maybe_enable_record(false)
session:request_roll(ARDOUR.TransportRequestSource.TRS_UI)
wait("rolling", function() return session:transport_sample() >= seconds * 48000 end)
session:request_stop(false, false, ARDOUR.TransportRequestSource.TRS_UI)
-- Ardour writes what it has recorded after the transport has stopped.
local regions = take:to_track():playlist()
wait("recorded", function() return regions:region_list():size() == 1 end)
armed:set_value(0, PBD.GroupControlDisposition.NoGroup)
wait("disarmed", function() return armed:get_value() == 0 end)
for region in regions:region_list():iter() do
	print("region", region:position():samples(), region:start():samples(), region:length():samples())
end

session:save_state("dry")
local plugin = ARDOUR.LuaAPI.new_plugin(session, "audiocloud Remote FX", ARDOUR.PluginType.VST3, "")
assert(not plugin:isnil(), "Remote FX is not found")
assert(take:add_processor_by_index(plugin, 0, nil, true) == 0, "Remote FX cannot be added")
session:save_state("")
close_session()
print("made")
