-- Makes a session: noise into a track with Send, Receive on a second track, and a third that records both.
-- Environment: SESSION, the folder to make; HOLD, to say that it is made and to save it only when a line is read.

local folder = os.getenv("SESSION")
assert(AudioEngine:set_backend("None (Dummy)", "", ""))
assert(AudioEngine:set_device_name("Uniform White Noise") == 0)
local session = create_session(folder, "first", 48000)
assert(session)

local function track(channels, name)
	local tracks = session:new_audio_track(channels, channels, nil, 1, name,
		ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
	for made in tracks:iter() do
		return made
	end
end

local function add(to, name)
	local plugin = ARDOUR.LuaAPI.new_plugin(session, name, ARDOUR.PluginType.VST3, "")
	assert(not plugin:isnil(), name .. " is not found")
	assert(to:add_processor_by_index(plugin, 0, nil, true) == 0, name .. " cannot be added")
	assert(plugin:to_insert():plugin(0):unique_id() ~= "")
end

local there, here, tape = track(2, "There"), track(2, "Here"), track(4, "Tape")
if not os.getenv("BARE") then
	add(there, "audiocloud Send")
	add(here, "audiocloud Receive")
end
for channel = 0, 1 do
	there:input():audio(channel):disconnect_all()
	assert(there:input():audio(channel):connect("system:capture_" .. (channel + 1)) == 0)
	here:input():audio(channel):disconnect_all()
	tape:input():audio(channel):disconnect_all()
	tape:input():audio(channel + 2):disconnect_all()
end
for channel = 0, 1 do
	assert(tape:input():audio(channel):connect(there:output():audio(channel):name()) == 0)
	assert(tape:input():audio(channel + 2):connect(here:output():audio(channel):name()) == 0)
end
for made in session:get_tracks():iter() do
	local monitoring = made:to_track():monitoring_control()
	monitoring:set_value(ARDOUR.MonitorChoice.MonitorInput, PBD.GroupControlDisposition.NoGroup)
	-- It is set in one of the engine's next cycles.
	for _ = 1, 500 do
		if monitoring:get_value() == ARDOUR.MonitorChoice.MonitorInput then break end
		ARDOUR.LuaAPI.usleep(10000)
	end
	assert(monitoring:get_value() == ARDOUR.MonitorChoice.MonitorInput, "the input is not heard")
end
if os.getenv("HOLD") then
	print("holding")
	io.flush()
	io.read()
end
session:save_state("")
close_session()
print("made")
