// The module's functions for reading bags.
#pragma once

#include "arguments.hpp"

namespace aisle {

extern PyMethodDef kBagMethods[];

}  // namespace aisle
