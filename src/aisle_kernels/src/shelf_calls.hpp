// The module's functions for the shelf monitor.
#pragma once

#include "arguments.hpp"

namespace aisle {

extern PyMethodDef kShelfMethods[];

}  // namespace aisle
