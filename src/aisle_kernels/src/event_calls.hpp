// The module's functions for the judgement of shelf events.
#pragma once

#include "arguments.hpp"

namespace aisle {

extern PyMethodDef kEventMethods[];

}  // namespace aisle
