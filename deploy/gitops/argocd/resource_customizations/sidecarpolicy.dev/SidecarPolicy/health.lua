-- Health of a SidecarPolicy or ClusterSidecarPolicy, from the conditions in its status.
-- Degraded is what waiting does not mend; what heals by itself, or is on its way, is Progressing.
-- A paused policy is Healthy: Suspended would keep a sync wave waiting for ever.
local hs = { status = "Progressing", message = "Waiting for the operator to look at it" }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Waiting for its deletion"
  return hs
end

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function says(type, wanted)
  local condition = conditions[type]
  if condition == nil or condition.status ~= wanted then
    return false
  end
  hs.message = condition.reason .. ": " .. condition.message
  return true
end

if says("Stalled", "True") or says("Accepted", "False") then
  hs.status = "Degraded"
  return hs
end

if says("RolloutComplete", "False") then
  local reason = conditions.RolloutComplete.reason
  if reason == "WorkloadsFailed" or reason == "WorkloadsConflicted" then
    hs.status = "Degraded"
    return hs
  end
end

if obj.spec.paused then
  hs.status = "Healthy"
  hs.message = "Paused: existing workloads stay as they are"
  return hs
end

if says("Reconciling", "True") or says("Ready", "False") or not says("Ready", "True") then
  return hs
end

-- Also where people have their turn, as with `existing: OnNextUpdate`: then its message says so.
hs.status = "Healthy"
if not says("RolloutComplete", "True") then
  says("RolloutComplete", "False")
end
return hs
